"""PromptProcessor: (Sample, visual features) -> token rows of the vqa, vaq and qav streams, and the collate.

BoViLA (arXiv 2410.02768), Flipped-VQA (arXiv 2310.15747); specification bovila, sections 4.1 to 4.4.
Legend: B batch, O options (rows per sample), S longest row of the batch, F frames, D feature width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidalign.backbones.llm_sizes import SIZES
from vidalign.backbones.option_tree import pack_options
from vidalign.common.rng import draw_seed
from vidalign.common.sample import DatasetInfo, Sample
from vidalign.models.bovila.plan import plan_training
from vidalign.models.bovila.prompts import prompt_form
from vidalign.text.pack import Row
from vidalign.text.sample_rows import SampleRows
from vidalign.text.tokenizers import Tokenizer, open_tokenizer

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
        assert set(streams) <= set(STREAMS), f"streams {streams}"
        self.train = train
        self.seed = seed
        self.form = form or RowForm()
        self.streams = tuple(streams) if train or self.form.all_streams else ("vqa",)
        self.sample_rows = SampleRows(
            tokenizer,
            form=prompt_form(dialogue=info.dialogue is not None),
            info=info,
            num_frames=num_frames,
            max_seq_len=max_seq_len,
            train=train,
            overflow=overflow,
            official_positions=self.form.official_positions,
        )

    def rows(self, sample: Sample) -> dict[str, list[Row]]:
        """Every stream's rows, cut to max_seq_len where the dialogue allows it."""
        self.sample_rows.check(sample, needs_answer=self.train or self.form.all_streams)
        return {
            stream: self.sample_rows.rows(stream, sample, self._options_of(stream, sample)) for stream in self.streams
        }

    def __call__(self, sample: Sample, media: Tensor | None, *, epoch: int = 0) -> dict[str, Any]:
        """One item for `collate`; `media` is (F, D)."""
        rows = self.rows(sample)
        assert media is not None and media.shape[0] == self.sample_rows.num_frames, (
            f"{sample.uid}: wrong number of frames"
        )
        return {
            "uid": sample.uid,
            "video": media,
            "answer_idx": -1 if sample.answer_idx is None else sample.answer_idx,
            "num_options": len(sample.options),
            "noise_seed": draw_seed(self.seed, epoch, sample.uid),
            "question_len": self.sample_rows.maker.question_length(self.sample_rows.texts(sample)),
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
            rows = [item["rows"][stream] for item in items]
            batch[stream] = self.sample_rows.batch(stream, rows, pad_to_max=self.form.pad_to_max)
        if "vaq" in self.streams:
            batch["vaq_prefix"] = torch.tensor([item["rows"]["vaq"][0].supervised for item in items])
        if self.train:
            batch["plan"] = plan_training(
                batch, streams=self.streams, max_seq_len=self.sample_rows.max_seq_len, questions=self.form.questions
            )
        else:
            batch["tree"] = pack_options(*(batch["vqa"][key] for key in ("ids", "labels", "lengths")))
        return batch

    def _options_of(self, stream: str, sample: Sample) -> list[int]:
        """Which options stand as the answer in a stream's rows."""
        single = stream == "vaq" and not self.form.vaq_per_option and self.sample_rows.info.dialogue is None
        if self.train or single:
            return [sample.answer_idx]
        return list(range(len(sample.options)))


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
    pieces = SIZES[config.size].get("vocab_size")
    tokenizer = open_tokenizer(path, cache_dir=cache_dir or "cache", size=config.size, pieces=pieces)
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
