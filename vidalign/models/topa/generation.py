"""TOPA speaks: Sample + features -> prompt, and the prompt's continuation as text (specification topa, section 6).

Legend: B batch, T longest prompt of the batch, F frames, E feature width, D width of the LM, G generated tokens.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vidalign.backbones.generate import beam_search, greedy
from vidalign.backbones.video_lm import VideoLM
from vidalign.backbones.video_prompts import embed_with_video
from vidalign.common.errors import MediaError
from vidalign.common.sample import DatasetInfo, Sample
from vidalign.models.topa.captioning import Demo, demo_of, question_block, spoken
from vidalign.text.prompt_texts import texts_of
from vidalign.text.tokenizers import Tokenizer


class SpeakingProcessor:
    """Sample + features (F, E) -> item; items -> batch. Pickles to loader workers."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        info: DatasetInfo,
        num_frames: int,
        max_seq_len: int,
        newline_id: int,
        caption_prompt: str | None = None,
    ) -> None:
        self.tokenizer, self.info, self.num_frames, self.max_seq_len = tokenizer, info, num_frames, max_seq_len
        self.newline_id, self.caption_prompt = newline_id, caption_prompt

    def demo(self, sample: Sample) -> Demo:
        """How this Sample is asked, its question filled in."""
        demo = demo_of(sample.task, dataset=sample.dataset, caption_prompt=self.caption_prompt)
        if sample.task == "mc_qa":
            return replace(demo, after=demo.after.format(block=question_block(sample.question or "", sample.options)))
        if sample.task == "open_qa":
            question = texts_of(sample, dialogue_rule=None, answer_stem="").question
            return replace(demo, after=demo.after.format(question=question))
        return demo

    def prompt(self, demo: Demo) -> tuple[list[int], list[int]]:
        """Ids before and after the video."""
        between = [self.newline_id] if demo.newline else []
        before = [self.tokenizer.bos_id, *self.tokenizer.encode(demo.before)]
        return before, [*between, *self.tokenizer.encode(demo.after)]

    def __call__(self, sample: Sample, media: Tensor | None, *, epoch: int = 0) -> dict[str, Any]:
        """One item for `collate`; `media` is (F, E). MediaError for a prompt longer than max_seq_len."""
        demo = self.demo(sample)
        before, after = self.prompt(demo)
        length = len(before) + self.num_frames + len(after)
        if length > self.max_seq_len:
            raise MediaError(
                f"the prompt has {length} tokens, more than max_seq_len {self.max_seq_len}; raise model.max_seq_len"
            )
        assert media is not None and media.shape[0] == self.num_frames, f"{sample.uid}: {self.num_frames} rows expected"
        return {
            "uid": sample.uid,
            "video": F.normalize(media.float(), dim=-1),
            "answer_idx": -1 if sample.answer_idx is None else sample.answer_idx,
            "before": before,
            "after": after,
            "demo": demo,
        }

    def collate(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """uid, demo (as the first sample's, its question aside), video (B, F, E), answer_idx (B,), prompt: ids (B, T)
        with padding at the left, padding (B,) how much of it, video_start (B,); words: the ids without video, as lists.
        """
        slots = [0] * self.num_frames
        rows = [[*item["before"], *slots, *item["after"]] for item in items]
        longest = max(map(len, rows))
        padding = [longest - len(row) for row in rows]
        starts = [pad + len(item["before"]) for pad, item in zip(padding, items, strict=True)]
        ids_BT = torch.tensor([[0] * pad + row for pad, row in zip(padding, rows, strict=True)])
        return {
            "uid": [item["uid"] for item in items],
            "demo": items[0]["demo"],
            "video": torch.stack([item["video"] for item in items]),
            "answer_idx": torch.tensor([item["answer_idx"] for item in items]),
            "prompt": {"ids": ids_BT, "padding": torch.tensor(padding), "video_start": torch.tensor(starts)},
            "words": [[*item["before"], *item["after"]] for item in items],
        }


class Speaker:
    """Continues prompts and reads the continuation: a language model's tokenizer and what must be known of it."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._with_text: dict[str, list[int]] = {}

    def texts(
        self, video_lm: VideoLM, batch: dict[str, Any], video_BFE: Tensor, *, steps: int | None, beams: int
    ) -> list[str]:
        """What the model says to each prompt of the batch; video_BFE is what enters the visual projection."""
        demo, prompt, llm = batch["demo"], batch["prompt"], video_lm.llm
        tokens_BFD, _ = video_lm.video(video_BFE)
        x_BTD = embed_with_video(llm, prompt["ids"], tokens_BFD, prompt["video_start"])
        stop = self.stop_ids(demo)
        settings = {
            "prompts": video_lm.adapter.prompts(dtype=llm.dtype, video_start_R=prompt["video_start"]),
            "steps": steps or demo.steps,
            # A language model may have more rows than its tokenizer has pieces.
            "banned": [*self.banned_ids(demo), *range(self.tokenizer.vocab_size, llm.vocab_size)],
            "stop": stop,
            "padding_R": prompt["padding"],
        }
        if beams > 1:
            made = beam_search(llm, x_BTD, beams=beams, **settings)
        else:
            made = greedy(llm, x_BTD, **settings)[0].tolist()
        return [
            spoken(self.tokenizer.decode([*words, *self._until(row, stop, demo)]), demo)
            for words, row in zip(batch["words"], made, strict=True)
        ]

    def stop_ids(self, demo: Demo) -> list[int]:
        """Ids after which nothing counts: every piece that holds the demo's stop, and the end token where it ends."""
        if demo.stop is not None and demo.stop not in self._with_text:
            pieces = range(self.tokenizer.vocab_size)
            self._with_text[demo.stop] = [piece for piece in pieces if demo.stop in self.tokenizer.decode([piece])]
        return [*self._with_text.get(demo.stop, []), *([self.tokenizer.eos_id] if demo.ends else [])]

    def banned_ids(self, demo: Demo) -> list[int]:
        """Ids of the banned words at a word's begin; a word of several pieces cannot be banned. Llama-2: 920, 1128."""
        # SentencePiece puts the blank in front itself; with a blank of our own there are two pieces.
        ways = [(self.tokenizer.encode(f" {word}"), self.tokenizer.encode(word)) for word in demo.banned]
        return [next(ids[0] for ids in pair if len(ids) == 1) for pair in ways if any(len(ids) == 1 for ids in pair)]

    def _until(self, row: list[int], stop: list[int], demo: Demo) -> list[int]:
        ends = [place for place, piece in enumerate(row) if piece in stop]
        kept = row[: ends[0] + 1] if ends else row
        return [piece for piece in kept if not (demo.ends and piece == self.tokenizer.eos_id)]
