"""LFVilaProcessor: (Sample, decoded frames) -> frames, token ids and labels of each LF-VILA model, and the collate.

Specification lf_vila, section 4. Legend: B samples, T frames, h, w pixels, O options, M sentences, L tokens.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidalign.common.errors import DataError
from vidalign.common.rng import draw_seed
from vidalign.common.sample import DatasetInfo, Sample
from vidalign.media.long_video import clip_window
from vidalign.models.lf_vila.frames import draw_box, eval_view, span_labels, train_view
from vidalign.models.lf_vila.masking import draw_masking
from vidalign.models.lf_vila.mtc import draw_orders
from vidalign.text.wordpiece import WordPiece, merge_neighbours, open_wordpiece


@dataclass(frozen=True)
class TextRules:
    """How a model's text inputs are made. clips: sentences of a paragraph; subtitles: groups after a question."""

    tokenizer: WordPiece
    length: int
    clips: int = 4
    subtitles: int = 0

    def rows(self, sentences: Sequence[str], count: int) -> tuple[Tensor, Tensor]:
        """(ids, mask) (count, L)."""
        return self.tokenizer.rows(sentences, count=count, length=self.length)

    def clip_sentences(self, text: str | Sequence[str]) -> tuple[Tensor, Tensor]:
        """Pre-training: one sentence per clip, the first ones."""
        return self.rows(sentences_of(text)[: self.clips], self.clips)

    def paragraph(self, text: str | Sequence[str], *, split: bool = True) -> tuple[Tensor, Tensor]:
        """Retrieval: at most `clips` sentences, neighbours merged; without `split` all text as one."""
        count = self.clips if split else 1
        return self.rows(merge_neighbours(sentences_of(text), count), count)

    def question(self, question: str, subtitles: Sequence[str] = ()) -> tuple[Tensor, Tensor]:
        """A question or statement, then groups of subtitles."""
        return self.rows([question, *merge_neighbours(subtitles, self.subtitles)], 1 + self.subtitles)

    def options(self, question: str, options: Sequence[str], subtitles: Sequence[str]) -> tuple[Tensor, Tensor]:
        """(O, M, L): for each option question, option, groups of subtitles."""
        merged = merge_neighbours(subtitles, self.subtitles)
        rows = [self.rows([question, option, *merged], 2 + self.subtitles) for option in options]
        return torch.stack([ids for ids, _ in rows]), torch.stack([mask for _, mask in rows])


def sentences_of(text: str | Sequence[str]) -> Sequence[str]:
    """A paragraph given as one string is one sentence."""
    return [text] if isinstance(text, str) else text


class LFVilaProcessor:
    """Sample + uint8 frames (T, H, W, 3) -> item; items -> batch. `content` makes the model's own part of an item."""

    def __init__(
        self,
        content: Callable[[Sample, int, float], dict[str, Any]],
        *,
        frame_hw: tuple[int, int],
        train: bool,
        seed: int = 0,
    ) -> None:
        self.content, self.frame_hw, self.train, self.seed = content, frame_hw, train, seed

    wants_seconds = True  # the loader tells how long the video is

    def __call__(
        self, sample: Sample, media: Tensor | None, *, epoch: int = 0, seconds: float | None = None
    ) -> dict[str, Any]:
        """One item; media is (T, H, W, 3) uint8, seconds the length of the video."""
        assert media is not None, f"{sample.uid}: frames expected"
        draw = random.Random(draw_seed(self.seed, epoch, sample.uid, "view"))
        if self.train:
            box, flip = draw_box(draw, tuple(media.shape[1:3])), draw.random() < 0.5
            video = train_view(media, hw=self.frame_hw, box=box, flip=flip)
        else:
            video = eval_view(media, hw=self.frame_hw)
        item = {"uid": sample.uid, "video": video}
        return item | self.content(sample, epoch, seconds or sample.media.duration_seconds or 0.0)

    def collate(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """Tensors stacked, everything else as lists. video: (B, 3, T, h, w).

        Options of different number are padded with empty ones (num_options tells).
        """
        batch: dict[str, Any] = {}
        most = max(len(item["text_ids"]) for item in items) if "num_options" in items[0] else 0
        for name, first in items[0].items():
            values = [item[name] for item in items]
            if most and name in ("text_ids", "text_mask"):
                values = [torch.cat([one, one.new_zeros(most - len(one), *one.shape[1:])]) for one in values]
            if isinstance(first, Tensor):
                batch[name] = torch.stack(values)
            elif isinstance(first, int | float):
                batch[name] = torch.tensor(values)
            else:
                batch[name] = values
        if "mlm_labels" in batch:
            # Where logits are needed is known here; asking the GPU for it would stop the step.
            row_N, place_N = (batch["mlm_labels"] != -100).nonzero(as_tuple=True)
            batch["mlm_words"] = (row_N, place_N, batch["mlm_labels"][row_N, place_N])
        return batch


class PretrainContent:
    """Sentences of the clips, orders for MTC, and in stage two masked words."""

    def __init__(self, rules: TextRules, *, seed: int, stage: int, probability: float, train: bool) -> None:
        self.rules, self.seed, self.stage, self.probability, self.train = rules, seed, stage, probability, train

    def __call__(self, sample: Sample, epoch: int, seconds: float) -> dict[str, Any]:
        """text_ids, text_mask (M, L); mtc_orders (3, M); mlm_labels (M * L,)."""
        texts, clips = sample.texts, self.rules.clips
        parts = sample.media.parts
        if parts:
            if len(texts) != len(parts):
                raise DataError(f"{sample.uid}: {len(parts)} clips and {len(texts)} texts; every clip needs its own")
            first = clip_window(len(parts), clips, seed=self.seed, epoch=epoch, uid=sample.uid, train=self.train)
            ids, mask = self.rules.clip_sentences(texts[first:])
        else:
            # One whole video with a paragraph: its sentences stand for its clips.
            ids, mask = self.rules.paragraph(texts)
        orders = draw_orders(draw_seed(self.seed, epoch, sample.uid, "mtc"), clips)
        item: dict[str, Any] = {"text_ids": ids, "text_mask": mask, "mtc_orders": orders}
        # Changed: at evaluation the official loaders mask too; embeddings of masked texts say little.
        if self.stage == 2 and self.train:
            seed = draw_seed(self.seed, epoch, sample.uid, "mlm")
            seen, labels = draw_masking(ids, self.rules.tokenizer, probability=self.probability, seed=seed)
            item |= {"text_ids": seen, "mlm_labels": labels.flatten()}
        return item


class RetrievalContent:
    """A paragraph."""

    def __init__(self, rules: TextRules, *, split: bool) -> None:
        self.rules, self.split = rules, split

    def __call__(self, sample: Sample, epoch: int, seconds: float) -> dict[str, Any]:
        """text_ids, text_mask (M, L)."""
        if not sample.texts:
            raise DataError(f"{sample.uid}: no text; retrieval needs a sentence or a paragraph")
        ids, mask = self.rules.paragraph(sample.texts, split=self.split)
        return {"text_ids": ids, "text_mask": mask}


class AnswersContent:
    """A question or statement, subtitles, and the class of the answer."""

    def __init__(self, rules: TextRules, answers: tuple[str, ...] | None, *, num_answers: int, train: bool) -> None:
        self.rules, self.num_answers, self.train = rules, num_answers, train
        self.numbers = None if answers is None else {answer: number for number, answer in enumerate(answers)}

    def __call__(self, sample: Sample, epoch: int, seconds: float) -> dict[str, Any]:
        """text_ids, text_mask (M, L); label, -1 where the answer is in no class, or hidden (not for training)."""
        if sample.question is None:
            raise DataError(f"{sample.uid}: no question or statement")
        ids, mask = self.rules.question(sample.question, [line.text for line in sample.subtitles or ()])
        return {"text_ids": ids, "text_mask": mask, "label": self.label(sample)}

    def label(self, sample: Sample) -> int:
        """The class: of the answer's text where there is a list of answers, else the sample's own number."""
        if self.numbers is not None:
            _need(sample, sample.answer, "answer", train=self.train)
            return self.numbers.get(sample.answer, -1)
        label = sample.answer_idx if sample.label is None else sample.label
        _need(sample, label, "label", train=self.train)
        return -1 if label is None else _class(sample, label, self.num_answers, "model.num_answers")


class ChoiceContent:
    """Options with question and subtitles, the true one, and the frames of the span."""

    def __init__(self, rules: TextRules, *, num_frames: int, train: bool) -> None:
        self.rules, self.num_frames, self.train = rules, num_frames, train

    def __call__(self, sample: Sample, epoch: int, seconds: float) -> dict[str, Any]:
        """text_ids, text_mask (O, M, L); label; num_options; span_labels, span_weights (T,).

        Changed: the official length of a video is its number of frames by 3 (files at 3 fps); here its own rate counts.
        """
        if not sample.options:
            raise DataError(f"{sample.uid}: no options to choose from; give `options`, or leave the row out")
        _need(sample, sample.answer_idx, "answer_idx", train=self.train)
        lines = [line.text for line in sample.subtitles or ()]
        ids, mask = self.rules.options(sample.question or "", sample.options, lines)
        labels, weights = span_labels(sample.span if seconds > 0 else None, seconds, self.num_frames)
        answer = -1 if sample.answer_idx is None else sample.answer_idx
        return {
            "text_ids": ids,
            "text_mask": mask,
            "label": answer,
            "answer_idx": answer,
            "num_options": len(sample.options),
            "span_labels": labels,
            "span_weights": weights.float(),
        }


class VideoContent:
    """A class, or a number."""

    def __init__(self, *, regression: bool, num_classes: int, train: bool) -> None:
        self.regression, self.num_classes, self.train = regression, num_classes, train

    def __call__(self, sample: Sample, epoch: int, seconds: float) -> dict[str, Any]:
        """target (float, not a number where hidden) or label (int, -1 where hidden); never hidden for training."""
        hidden = sample.label is None or (sample.label < 0 and not self.regression)
        _need(sample, None if hidden else sample.label, "label", train=self.train)
        if self.regression:
            return {"target": float("nan") if hidden else float(sample.label)}
        return {"label": -1 if hidden else _class(sample, sample.label, self.num_classes, "model.num_classes")}


def _need(sample: Sample, value: object, field: str, *, train: bool) -> None:
    """DataError for a sample that cannot be trained on, since what it should teach is hidden."""
    if train and value is None:
        raise DataError(
            f"{sample.uid}: no {field}, so it cannot be trained on; give its `{field}`, or leave the row out of the "
            "training split"
        )


def _class(sample: Sample, number: float, count: int, key: str) -> int:
    if number >= count:
        raise DataError(f"{sample.uid}: class {int(number)}, but {key} is {count}; raise it")
    return int(number)


def build_processor(
    config: Any,
    info: DatasetInfo,
    *,
    frame_hw: tuple[int, int],
    num_frames: int,
    vocab_size: int,
    train: bool,
    seed: int,
    cache_dir: Path | str | None,
) -> LFVilaProcessor:
    """The processor of the model that `config` names."""
    if config.arch == "lf_vila_video":
        content: Any = VideoContent(regression=config.regression, num_classes=config.num_classes, train=train)
        return LFVilaProcessor(content, frame_hw=frame_hw, train=train, seed=seed)
    tokenizer = open_wordpiece(config.tokenizer, cache_dir=cache_dir or "cache", pieces=vocab_size)
    rules = TextRules(tokenizer, config.max_tokens, config.clips, getattr(config, "max_subtitles", 0))
    if config.arch == "lf_vila_pretrain":
        content = PretrainContent(rules, seed=seed, stage=config.stage, probability=config.mlm_probability, train=train)
    elif config.arch == "lf_vila_retrieval":
        content = RetrievalContent(rules, split=config.split_text)
    elif config.arch == "lf_vila_answers":
        answers = read_answers(config.answers, config.num_answers)
        content = AnswersContent(rules, answers, num_answers=config.num_answers, train=train)
    else:
        content = ChoiceContent(rules, num_frames=num_frames, train=train)
    return LFVilaProcessor(content, frame_hw=frame_hw, train=train, seed=seed)


def read_answers(path: str | None, count: int) -> tuple[str, ...] | None:
    """The answers of a file, one per line; DataError when their number is not `count`."""
    if path is None:
        return None
    try:
        lines = tuple(Path(path).read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a list of answers: {error}") from error
    if len(lines) != count:
        raise DataError(f"{path}: {len(lines)} answers, model.num_answers is {count}; make them equal")
    return lines
