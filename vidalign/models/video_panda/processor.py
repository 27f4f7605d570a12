"""Sample + decoded frames -> conversation ids and letter-boxed pictures; items -> batches with their splice plans.

Video-Panda (arXiv 2412.18609); specification video_panda, section 4.
Legend: F frames of all clips of a batch, P side of the student's square, p of the teacher's, B samples, U clips that
differ, Q longest question.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidalign.common.errors import ConfigError, DataError
from vidalign.common.rng import draw_seed
from vidalign.common.sample import Sample, footage
from vidalign.models.video_panda.alignment import plan_alignment
from vidalign.models.video_panda.boxes import Box
from vidalign.models.video_panda.frames import make_clip
from vidalign.models.video_panda.prompts import (
    CHOSEN,
    IMAGE,
    VIDEO,
    chat,
    choice_question,
    label,
    prefix_length,
    question_prompt,
    rewritten,
    tokenize,
)
from vidalign.models.video_panda.splice import IGNORE, plan_splice
from vidalign.models.video_panda.stab import Stab
from vidalign.text.chat_tokens import ChatTokenizer, legacy_of
from vidalign.text.prompt_texts import FUTURE_EVENT_QUESTION, letter

CAPTION_REQUEST = "Describe the video concisely."


class ConversationProcessor:
    """One clip and its conversation (training) or question (evaluation). Pickles to loader workers.

    A Sample with `texts` is a conversation, human and assistant in turn; any other is its question (with its options)
    and answer, or a request for its caption.
    """

    def __init__(
        self,
        tokenizer: ChatTokenizer,
        *,
        num_frames: int,
        side: int,
        patch_px: int,
        max_length: int,
        train: bool,
        seed: int = 0,
        context: bool = True,
        row_tokens: bool = True,
        teacher: bool = True,
        flip: float = 0.0,
        sync_flip: bool = False,
    ) -> None:
        self.tokenizer, self.num_frames, self.side, self.patch_px = tokenizer, num_frames, side, patch_px
        self.max_length, self.train, self.seed = max_length, train, seed
        self.context, self.row_tokens, self.teacher = context, row_tokens, teacher and train
        self.flip, self.sync_flip = flip, sync_flip

    def __call__(self, sample: Sample, media: Tensor | None, *, epoch: int = 0) -> dict[str, Any]:
        """One item. media: uint8 (T, H, W, 3), None for a text; a picture is a clip of one frame."""
        clip, frames = None, 0
        if media is not None:
            # A folder of pictures is a video: media_spec's rule takes more than one frame of whatever is one.
            is_image = sample.media.kind == "frames" and len(media) == 1
            frames = 1 if is_image else self.num_frames
            student, teacher = self._flips(sample, epoch)
            clip = make_clip(
                media.numpy(),
                num_frames=frames,
                side=self.side,
                patch_px=self.patch_px,
                student_flip=student,
                teacher_flip=teacher,
                teacher=self.teacher and not is_image,
            )
        ids, labels = (
            self._conversation(sample, visual=frames) if self.train else (self._question(sample, frames), None)
        )
        return {
            "uid": sample.uid,
            "ids": ids,
            "labels": labels,
            "clip": clip,
            "place": None if sample.media is None else (sample.media.path or sample.media.video_id, sample.span),
        }

    def collate(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """The batch that the model reads.

        uid: list[str]. frames (F, 3, P, P) uint8, boxes and clips (frames per clip) of all pictures in order, and plan
        (see plan_splice). Training: of every sample, with teacher_frames, teacher_boxes and the plan of the alignment.
        Evaluation: of every clip that differs, as prefixes padded on the left; owner (B,), question_ids and
        question_mask (B, Q).
        """
        return self._training_batch(items) if self.train else self._question_batch(items)

    def _training_batch(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        ids = [torch.tensor(item["ids"][: self.max_length]) for item in items]
        labels = [torch.tensor(item["labels"][: self.max_length]) for item in items]
        clips = [item["clip"] for item in items]
        batch = self._pictures([clip for clip in clips if clip is not None])
        counts = [[self._count(box) for box in clip.boxes] if clip else [] for clip in clips]
        plan = plan_splice(ids, labels, counts, uids=[item["uid"] for item in items])
        if self.teacher:
            plan |= self._alignment(clips, plan["frame_rows"])
            videos = [clip for clip in clips if clip is not None and clip.teacher is not None]
            batch["teacher_boxes"] = [box for clip in videos for box in clip.boxes]
            batch["teacher_frames"] = torch.cat([clip.teacher for clip in videos]) if videos else None
        return {"uid": [item["uid"] for item in items], "plan": plan, **batch}

    def _alignment(self, clips: list[Any], frame_rows: Tensor) -> dict[str, Tensor]:
        """Frames of images have no teacher."""
        all_boxes = [(box, clip.teacher is not None) for clip in clips if clip is not None for box in clip.boxes]
        kept = [index for index, (_, aligned) in enumerate(all_boxes) if aligned]
        return plan_alignment(
            [int(frame_rows[index]) for index in kept],
            [all_boxes[index][0] for index in kept],
            teacher_side=self.side,
            context=self.context,
            row_tokens=self.row_tokens,
        )

    def _question_batch(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """Samples over the same clip share one prefix: the system text and the pictures."""
        prefixes: dict[Any, int] = {}
        owners, chosen, questions = [], [], []
        for item in items:
            ids = item["ids"]
            cut = prefix_length(ids)
            key = (item["place"], tuple(ids[:cut]))
            if key not in prefixes:
                prefixes[key] = len(prefixes)
                chosen.append(item | {"ids": torch.tensor(ids[:cut])})
            owners.append(prefixes[key])
            questions.append(torch.tensor(ids[cut:]))
        clips, rows = [item["clip"] for item in chosen], [item["ids"] for item in chosen]
        counts = [[self._count(box) for box in clip.boxes] if clip else [] for clip in clips]
        labels, uids = [torch.full_like(ids, IGNORE) for ids in rows], [item["uid"] for item in chosen]
        plan = plan_splice(rows, labels, counts, padding_side="left", uids=uids)
        width = max(len(ids) for ids in questions)
        question_ids = torch.zeros(len(items), width, dtype=torch.long)
        mask = torch.zeros(len(items), width, dtype=torch.bool)
        for number, ids in enumerate(questions):
            question_ids[number, width - len(ids) :] = ids
            mask[number, width - len(ids) :] = True
        return {
            "uid": [item["uid"] for item in items],
            "plan": plan,
            "owner": torch.tensor(owners),
            "question_ids": question_ids,
            "question_mask": mask,
            "tokenizer": self.tokenizer,
            "eos_id": self.tokenizer.eos_id,
            **self._pictures([clip for clip in clips if clip is not None]),
        }

    def _pictures(self, clips: list[Any]) -> dict[str, Any]:
        return {
            "frames": torch.cat([clip.student for clip in clips]) if clips else None,
            "boxes": [box for clip in clips for box in clip.boxes],
            "clips": [len(clip.boxes) for clip in clips],
        }

    def _count(self, box: Box) -> int:
        height, width = box.grid
        return int(self.context) + height * (width + int(self.row_tokens))

    def _conversation(self, sample: Sample, *, visual: int) -> tuple[list[int], list[int]]:
        turns = conversation_of(sample, visual=visual)
        texts = rewritten(turns, num_frames=self.num_frames, visual=visual > 0)
        prompt = chat(turns, texts, template="v1", where=sample.uid)
        ids = tokenize(prompt, self.tokenizer)
        return ids, label(prompt, ids, self.tokenizer, max_length=self.max_length)

    def _question(self, sample: Sample, frames: int) -> list[int]:
        begun = CHOSEN if sample.task == "mc_qa" else ""
        prompt = question_prompt(question_of(sample), num_frames=frames, begun=begun)
        return tokenize(prompt if frames else prompt.replace("USER: \n", "USER: "), self.tokenizer)

    def _flips(self, sample: Sample, epoch: int) -> tuple[bool, bool]:
        """Kept: student and teacher are mirrored independently, so half of the pairs do not match. [preprocess_*]

        Changed: drawn by (seed, epoch, sample), not from a process's stream; at evaluation (`eval_flip`) by clip, so
        that all questions about a clip see the same picture, which a batch computes once.
        """
        name = sample.uid if self.train else str(footage(sample))
        draw = random.Random(draw_seed(self.seed, epoch, name, "flip"))
        student, teacher = draw.random() < self.flip, draw.random() < self.flip
        return student, student if self.sync_flip else teacher


def conversation_of(sample: Sample, *, visual: int) -> list[dict[str, str]]:
    """The turns of a Sample; DataError where there is nothing to train on."""
    if sample.texts and sample.task == "dialogue":
        speakers = ("human", "gpt")
        return [{"from": speakers[number % 2], "value": text} for number, text in enumerate(sample.texts)]
    placeholder = {0: "", 1: f"{IMAGE}\n"}.get(visual, f"{VIDEO}\n")
    answer = answer_of(sample)
    if answer is None:
        raise DataError(f"{sample.uid}: no answer to train on; take a split whose answers are known")
    return [{"from": "human", "value": f"{placeholder}{question_of(sample)}"}, {"from": "gpt", "value": answer}]


def question_of(sample: Sample) -> str:
    """What the human says: the question with its options where it has some, or the request for a caption."""
    if sample.task == "mc_qa":
        return choice_question(FUTURE_EVENT_QUESTION if sample.question is None else sample.question, sample.options)
    return CAPTION_REQUEST if sample.question is None else sample.question


def answer_of(sample: Sample) -> str | None:
    """What the assistant is to say; None where that is hidden."""
    if sample.task == "mc_qa":
        index = sample.answer_idx
        return None if index is None else f"{CHOSEN}{letter(index)[1:]} {sample.options[index]}"
    return next(iter(sample.texts), None) if sample.task == "caption" else sample.answer


def build_processor(
    config: Any, tower: Stab, *, train: bool, seed: int, cache_dir: Path | str | None
) -> ConversationProcessor:
    """From VideoPandaConfig. Without weights and tokenizer file the tiny tokenizer is taken (cache_dir)."""
    from vidalign.backbones.llm_sizes import SIZES as LANGUAGE_MODELS
    from vidalign.models.video_panda.config import SIZES
    from vidalign.text.tokenizers import LlamaTokenizer, open_tokenizer

    size = SIZES[config.size]
    path = Path(config.tokenizer or config.weights) if config.tokenizer or config.weights else None
    pieces = None if config.weights else LANGUAGE_MODELS[size["lm"]]["vocab_size"]
    tokenizer = open_tokenizer(path, cache_dir=cache_dir or "cache", size=config.size, pieces=pieces)
    if not isinstance(tokenizer, LlamaTokenizer):
        raise ConfigError(f"model.tokenizer: {path} is not a SentencePiece model; Video-Panda's is LLaMA's first one")
    folder = None if config.weights is None else Path(config.weights)
    legacy = legacy_of(folder) if config.legacy_tokens == "auto" else config.legacy_tokens == "true"
    return ConversationProcessor(
        ChatTokenizer(tokenizer, legacy=legacy),
        num_frames=config.num_frames,
        side=size["side"],
        patch_px=size["patch_px"],
        max_length=config.max_length,
        train=train,
        seed=seed,
        context=tower.has_context,
        row_tokens="row_tokens" in tower.parts,
        teacher=config.needs_teacher,
        flip=config.flip if train else 0.5 * config.eval_flip,
        sync_flip=config.sync_flip,
    )
