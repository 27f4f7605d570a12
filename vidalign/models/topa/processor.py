"""PromptProcessor: (Sample, CLIP features) -> token rows of multiple choice and of captions, and the collate.

TOPA (arXiv 2405.13911); specification topa, sections 4.1 to 4.5.
Legend: B batch, O options (rows per sample), S longest row of the batch, F frames, E feature width.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vidalign.backbones.llm_sizes import SIZES
from vidalign.backbones.option_tree import pack_options
from vidalign.common.errors import DataError
from vidalign.common.rng import draw_seed
from vidalign.common.sample import DatasetInfo, Sample
from vidalign.models.topa.prompts import open_answer, prompt_form, summary_text
from vidalign.models.topa.rows import open_row, summary_row
from vidalign.models.topa.text_prealign import draw_mode
from vidalign.text.pack import Row
from vidalign.text.plan import plan_stream
from vidalign.text.sample_rows import SampleRows
from vidalign.text.tokenizers import Tokenizer, open_tokenizer

# Kept: the official loader of this benchmark does not normalise its features. [dataset_dramaqa_val]
_RAW_FEATURES = ("dramaqa",)
# An answer about several options makes no sense without them.
_NOT_OPEN = ("both", "all")


class PromptProcessor:
    """Sample + features (F, E) -> item; items -> batch. Pickles to loader workers.

    Training makes a multiple-choice row with the true answer and, with caption_share > 0, a caption row: the Sample's
    first text as a summary, or (where it has an open-ended answer, half of the time) the answer. Evaluation makes one
    row per option: its letter, or with select "text" its text as an open-ended answer. For rows that are too long see
    SampleRows.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        info: DatasetInfo,
        num_frames: int,
        max_seq_len: int,
        train: bool,
        seed: int = 0,
        overflow: str = "error",
        select: str = "letter",
        caption_share: float = 0.0,
    ) -> None:
        assert select in ("letter", "text"), f"select {select!r}"
        self.info, self.train, self.seed, self.caption_share = info, train, seed, caption_share
        self.streams = self._streams(select)
        self.sample_rows = SampleRows(
            tokenizer,
            form=prompt_form(tokenizer, dataset=info.name, dialogue=info.dialogue is not None),
            info=info,
            num_frames=num_frames,
            max_seq_len=max_seq_len,
            train=train,
            overflow=overflow,
        )

    def rows(self, sample: Sample, *, epoch: int = 0) -> dict[str, list[Row]]:
        """Every stream's rows."""
        self.sample_rows.check(sample, needs_answer=self.train)
        return {name: self._rows_of(name, sample, epoch) for name in self.streams}

    def __call__(self, sample: Sample, media: Tensor | None, *, epoch: int = 0) -> dict[str, Any]:
        """One item for `collate`; `media` is (F, E). Rows of features get length 1, padding stays 0."""
        rows = self.rows(sample, epoch=epoch)
        num_frames = self.sample_rows.num_frames
        assert media is not None and media.shape[0] == num_frames, f"{sample.uid}: {num_frames} rows expected"
        return {
            "uid": sample.uid,
            "video": media.float() if self.info.name in _RAW_FEATURES else F.normalize(media.float(), dim=-1),
            "answer_idx": -1 if sample.answer_idx is None else sample.answer_idx,
            "num_options": len(sample.options),
            "mode_draw": self._draw(sample, epoch, "mode"),
            "rows": rows,
        }

    def collate(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """The batch the model reads.

        uid: list[str]; video (B, F, E) float32; answer_idx (B,), -1 where hidden; num_options (B,). Per stream a dict
        as in SampleRows.batch. In training also mode (the stream this micro-batch learns, drawn by its first sample)
        and plan (see plan_stream), else tree (see pack_options).
        """
        batch: dict[str, Any] = {
            "uid": [item["uid"] for item in items],
            "video": torch.stack([item["video"] for item in items]),
        }
        for name in ("answer_idx", "num_options"):
            batch[name] = torch.tensor([item[name] for item in items], dtype=torch.int64)
        if self.train:
            # Changed: the official draw is unseeded and differs per rank; ours depends on seed, epoch and sample.
            batch["mode"] = draw_mode(items[0]["mode_draw"], caption_share=self.caption_share)
        for name in [batch["mode"]] if self.train else self.streams:
            batch[name] = self.sample_rows.batch(name, [item["rows"][name] for item in items])
        if self.train:
            batch["plan"] = plan_stream(batch[batch["mode"]])
        else:
            batch["tree"] = pack_options(*(batch[self.streams[0]][key] for key in ("ids", "labels", "lengths")))
        return batch

    def _streams(self, select: str) -> tuple[str, ...]:
        if not self.train:
            return ("vqa",) if select == "letter" else ("caption",)
        wanted = {"vqa": self.caption_share < 1.0, "caption": self.caption_share > 0.0}
        return tuple(name for name, needed in wanted.items() if needed)

    def _rows_of(self, name: str, sample: Sample, epoch: int) -> list[Row]:
        if name == "vqa":
            options = [sample.answer_idx] if self.train else list(range(len(sample.options)))
            return self.sample_rows.rows("vqa", sample, options)
        maker, question = self.sample_rows.maker, self.sample_rows.texts(sample).question
        if self.train:
            rows = [self._caption(sample, question, epoch)]
        else:
            answers = [open_answer(option, dataset=sample.dataset) for option in sample.options]
            rows = [open_row(maker, question, answer) for answer in answers]
        return [self.sample_rows.fit(row, name, sample) for row in rows]

    def _caption(self, sample: Sample, question: str, epoch: int) -> Row:
        if not sample.texts:
            raise DataError(
                f"{sample.uid}: no caption to train on; set model.losses.caption_share to 0 for this benchmark"
            )
        open_ended = sample.answers and not any(word in sample.options[sample.answer_idx] for word in _NOT_OPEN)
        if open_ended and self._draw(sample, epoch, "open") > 0.5:
            return open_row(self.sample_rows.maker, question, f"Answer: {sample.answers[0].strip()}\n")
        return summary_row(self.sample_rows.maker, summary_text(sample.texts[0]))

    def _draw(self, sample: Sample, epoch: int, purpose: str) -> float:
        return random.Random(draw_seed(self.seed, epoch, sample.uid, purpose)).random()


def build_processor(
    config: Any, info: DatasetInfo, *, train: bool, seed: int, cache_dir: Path | str | None
) -> PromptProcessor:
    """From TOPAConfig. Without weights and tokenizer file the tiny tokenizer is taken (cache_dir)."""
    # Lazy: workers that only unpickle a processor need no language model.
    from vidalign.backbones.video_lm import find_tokenizer

    tokenizer = open_tokenizer(
        find_tokenizer(config),
        cache_dir=cache_dir or "cache",
        size=config.size,
        pieces=SIZES[config.size].get("vocab_size"),
    )
    return PromptProcessor(
        tokenizer,
        info=info,
        num_frames=config.num_frames,
        max_seq_len=config.max_seq_len,
        train=train,
        seed=seed,
        overflow=config.overflow,
        select=config.select,
        caption_share=config.losses.caption_share,
    )
