"""PromptProcessor: (Sample, visual features) -> token rows of the vqa, vaq and qav streams, and the collate.

BoViLA (arXiv 2410.02768), Flipped-VQA (arXiv 2310.15747); specification bovila, sections 4.1 to 4.4.
Legend: B batch, O options (rows per sample), S longest row of the batch, F frames, D feature width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidalign.backbones.llm_sizes import SIZES
from vidalign.backbones.option_tree import pack_options
from vidalign.common.errors import ConfigError, DataError, MediaError
from vidalign.common.rng import draw_seed
from vidalign.common.sample import DatasetInfo, Sample
from vidalign.models.bovila.plan import plan_training
from vidalign.models.bovila.prompts import LETTERS, Texts, texts_of
from vidalign.models.bovila.rows import RowMaker
from vidalign.text.pack import Row, frame_labels, pad_stack, shorten, stack, text_labels
from vidalign.text.tokenizers import Tokenizer, load_tokenizer, tiny_tokenizer

STREAMS = ("vqa", "vaq", "qav")


@dataclass(frozen=True, kw_only=True)
class RowForm:
    """What is made beyond the usual, mostly to follow the official loaders closely.

    questions: plan where sampled questions are read and written in training (aqa). all_streams: make every stream at
    evaluation too (only vqa is scored). vaq_per_option: there, one vaq row per option instead of one for the true
    answer (LLaMA-VQA; benchmarks with dialogue always). official_positions: find positions by the first hit of a token.
    pad_to_max: pad to max_seq_len instead of the batch's longest row.
    """

    questions: bool = False
    all_streams: bool = False
    vaq_per_option: bool = False
    official_positions: bool = False
    pad_to_max: bool = False


class PromptProcessor:
    """Sample + features (F, D) -> item; items -> batch. Pickles to loader workers.

    Training makes one row per stream with the true answer, evaluation one vqa row per option. A row that does not fit
    max_seq_len (after its dialogue was shortened) is, with overflow "error", a DataError naming the sample in training
    and a MediaError at evaluation, so that the sample counts as failed; "official" cuts the row's end, answer included.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        info: DatasetInfo,
        num_frames: int,
        max_seq_len: int,
        streams: Sequence[str] = ("vqa",),
        train: bool,
        seed: int = 0,
        overflow: str = "error",
        form: RowForm | None = None,
    ) -> None:
        self.info = info
        self.num_frames = num_frames
        self.max_seq_len = max_seq_len
        self.train = train
        self.seed = seed
        self.overflow = overflow
        self.form = form or RowForm()
        self.streams = tuple(streams) if train or self.form.all_streams else ("vqa",)
        self.maker = RowMaker(
            tokenizer,
            num_frames=num_frames,
            dialogue_form=info.dialogue is not None,
            official_positions=self.form.official_positions,
        )
        assert set(self.streams) <= set(STREAMS), f"streams {self.streams}"
        assert overflow in ("error", "official"), f"overflow {overflow!r}"

    def texts(self, sample: Sample) -> Texts:
        """The text blocks of a Sample."""
        return texts_of(sample, dialogue_rule=self.info.dialogue)

    def rows(self, sample: Sample) -> dict[str, list[Row]]:
        """Every stream's rows, cut to max_seq_len where the dialogue allows it."""
        self._check(sample)
        texts = self.texts(sample)
        return {
            stream: [
                self._fit(row, stream, sample)
                for row in self.maker.rows(stream, texts, self._options_of(stream, sample))
            ]
            for stream in self.streams
        }

    def __call__(self, sample: Sample, media: Tensor | None, *, epoch: int = 0) -> dict[str, Any]:
        """One item for `collate`; `media` is (F, D)."""
        rows = self.rows(sample)
        assert media is not None and media.shape[0] == self.num_frames, f"{sample.uid}: {self.num_frames} rows expected"
        return {
            "uid": sample.uid,
            "video": media,
            "answer_idx": -1 if sample.answer_idx is None else sample.answer_idx,
            "num_options": len(sample.options),
            "noise_seed": draw_seed(self.seed, epoch, sample.uid),
            "question_len": self.maker.question_length(self.texts(sample)),
            "rows": rows,
        }

    def collate(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """The batch the models read.

        uid: list[str]; video (B, F, D) float32; answer_idx (B,), -1 where hidden; num_options, noise_seed,
        question_start, question_len, and with vaq rows vaq_prefix (B,), all int64. Per stream a dict: ids, labels
        (B, O, S), lengths (B, O), 0 for an option that does not exist, video_start (B,). ids are 0 at placeholders and
        padding; labels 0 (qav: -1) where nothing is supervised; mask (not qav) is 1 there, also on a label with id 0.
        In training also plan (see plan_training), else tree (see pack_options).
        """
        batch: dict[str, Any] = {
            "uid": [item["uid"] for item in items],
            "video": torch.stack([item["video"].float() for item in items]),
        }
        for name in ("answer_idx", "num_options", "noise_seed", "question_len"):
            batch[name] = torch.tensor([item[name] for item in items], dtype=torch.int64)
        first = [item["rows"]["vqa"][0] for item in items]
        batch["question_start"] = torch.tensor([row.question_start for row in first])
        for stream in self.streams:
            batch[stream] = self._stream_batch(stream, [item["rows"][stream] for item in items])
        if "vaq" in self.streams:
            batch["vaq_prefix"] = torch.tensor([item["rows"]["vaq"][0].supervised for item in items])
        if self.train:
            batch["plan"] = plan_training(
                batch, streams=self.streams, max_seq_len=self.max_seq_len, questions=self.form.questions
            )
        else:
            batch["tree"] = pack_options(*(batch["vqa"][key] for key in ("ids", "labels", "lengths")))
        return batch

    def labels(self, stream: str, rows: Sequence[Row], length: int) -> Tensor:
        """Labels (O, S) of one sample's rows."""
        if stream == "qav":
            return frame_labels(rows, length, self.num_frames)
        return text_labels(rows, length)[0]

    def _stream_batch(self, stream: str, rows: list[list[Row]]) -> dict[str, Tensor]:
        lengths = [[min(len(row), self.max_seq_len) for row in sample] for sample in rows]
        width = max(map(len, rows))
        longest = self.max_seq_len if self.form.pad_to_max else max(max(sample) for sample in lengths)
        fill = -1 if stream == "qav" else 0
        labels = [self.labels(stream, sample, longest) for sample in rows]
        masks = {}
        if stream != "qav":
            masks["mask"] = pad_stack([text_labels(sample, longest)[1] for sample in rows], rows=width, length=longest)
        return {
            "ids": pad_stack([stack(sample, longest) for sample in rows], rows=width, length=longest),
            "labels": pad_stack(labels, rows=width, length=longest, fill=fill),
            **masks,
            "lengths": torch.tensor([row + [0] * (width - len(row)) for row in lengths]),
            "video_start": torch.tensor([sample[0].video_start for sample in rows]),
        }

    def _check(self, sample: Sample) -> None:
        if len(sample.options) < 2 or len(sample.options) > len(LETTERS):
            raise DataError(f"{sample.uid}: {len(sample.options)} options; this model chooses between 2 to 26")
        if sample.answer_idx is None and (self.train or self.form.all_streams):
            raise DataError(f"{sample.uid}: the answer is hidden in this split; train on one with answers")

    def _options_of(self, stream: str, sample: Sample) -> list[int]:
        """Which options stand as the answer in a stream's rows."""
        single = stream == "vaq" and not self.form.vaq_per_option and self.info.dialogue is None
        if self.train or single:
            return [sample.answer_idx]
        return list(range(len(sample.options)))

    def _fit(self, row: Row, stream: str, sample: Sample) -> Row:
        excess = len(row) - self.max_seq_len
        if excess <= 0:
            return row
        if self.info.dialogue is not None and sample.subtitles is not None:
            keep = row.cut_end - row.cut_start - excess
            # Kept: "official" goes on cutting into the video placeholders when the dialogue is used up.
            if keep >= 0 or (self.overflow == "official" and row.cut_start + keep >= 0):
                return self._shortened(row, stream, keep)
        # The official qav labels need room for every frame; only what follows them can be cut.
        elif self.overflow == "official" and (stream != "qav" or row.video_start + self.num_frames <= self.max_seq_len):
            return row
        raise self._too_long(row, stream, sample)

    def _shortened(self, row: Row, stream: str, keep: int) -> Row:
        cut = shorten(row, keep)
        if not self.form.official_positions:
            return cut
        # Kept: question_start is not moved, the vaq prefix is the first `Question` (cases data_*_sub_overflow).
        if stream == "vaq":
            cut = replace(cut, supervised=self.maker.first(cut.ids, "Question", initial=False) + 2)
        elif stream == "vqa":
            cut = replace(cut, supervised=self.max_seq_len - 4, question_start=row.question_start)
        return cut

    def _too_long(self, row: Row, stream: str, sample: Sample) -> Exception:
        text = (
            f"the {stream} prompt has {len(row)} tokens, more than max_seq_len {self.max_seq_len}; raise "
            "model.max_seq_len, or set model.overflow to official to cut it"
        )
        return DataError(f"{sample.uid}: {text}") if self.train else MediaError(text)


def build_processor(
    config: Any,
    info: DatasetInfo,
    *,
    train: bool,
    seed: int,
    streams: Sequence[str],
    cache_dir: Path | str | None,
    questions: bool = False,
) -> PromptProcessor:
    """From BoViLAConfig or LlamaVQAConfig. Without weights and tokenizer file the tiny tokenizer is taken (cache_dir).

    A tokenizer with more pieces than the language model has embeddings is a ConfigError.
    """
    # Lazy: workers that only unpickle a processor need no language model.
    from vidalign.backbones.video_lm import find_tokenizer

    path = find_tokenizer(config)
    tokenizer = tiny_tokenizer(cache_dir or "cache") if path is None else load_tokenizer(path)
    pieces = SIZES[config.size].get("vocab_size")
    if pieces is not None and tokenizer.vocab_size > pieces:
        raise ConfigError(
            f"model.llm.tokenizer: {tokenizer.path} has {tokenizer.vocab_size} pieces, a language model of size "
            f"{config.size!r} knows {pieces}; give the tokenizer of these weights"
        )
    return PromptProcessor(
        tokenizer,
        info=info,
        num_frames=config.num_frames,
        max_seq_len=config.max_seq_len,
        streams=streams,
        train=train,
        seed=seed,
        overflow=config.overflow,
        form=RowForm(questions=questions),
    )
