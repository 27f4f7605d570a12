"""PromptProcessor: (Sample, CLIP features) -> token rows of multiple choice and of captions, and the collate.

TOPA (arXiv 2405.13911); specification topa, sections 4.1 to 4.5.
Legend: B batch, O options (rows per sample), S longest row of the batch, F frames, E feature width.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
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
from vidalign.models.topa.plan import plan_training
from vidalign.models.topa.prompts import open_answer, prompt_form, spoken_answer, summary_text
from vidalign.models.topa.questions import Draws, answers_openly, draw, pose
from vidalign.models.topa.rows import open_row, summary_row
from vidalign.models.topa.text_prealign import add_noise, draw_mode, single_frame
from vidalign.text.pack import Row
from vidalign.text.sample_rows import SampleRows
from vidalign.text.tokenizers import Tokenizer, open_tokenizer

# Kept: the official loaders of these benchmarks take the features as they are stored, those of textual videos as they
# come from the fusion. [dataset_dramaqa_val, dataset_webvid_train, dataset_textvid_train]
_RAW_FEATURES = ("dramaqa", "webvid", "textvid")


SELECT = ("letter", "text", "similarity")


@dataclass(frozen=True, kw_only=True)
class Teaching:
    """What training rows are about: caption_share of the micro-batches learn captions; of the caption rows that have an
    open-ended answer, open_share become one; balance: options of textual videos in a drawn order; variance of the noise
    on their frames.
    """

    caption_share: float = 0.0
    open_share: float = 0.5
    balance: bool = True
    noise: float = 0.0


class PromptProcessor:
    """Sample + features (F, E) -> item; items -> batch. Pickles to loader workers.

    Training makes a multiple-choice row with the true answer and, with caption_share > 0, a caption row: the Sample's
    first text as a summary, or (where it has an open-ended answer) sometimes that. Of a textual video's questions one
    is drawn per visit. Evaluation makes one row per option: its letter, or with select "text" its text as an open-ended
    answer; with select "similarity" the open question alone, and the ids of each option's text. For rows that are too
    long see SampleRows; `overflow: skip` leaves out what the official loader leaves out.
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
        teaching: Teaching | None = None,
        every_second_frame: bool = False,
        official_positions: bool = False,
    ) -> None:
        assert select in SELECT, f"select {select!r}"
        self.info, self.train, self.seed, self.select = info, train, seed, select
        self.teaching, self.every_second_frame = teaching or Teaching(), every_second_frame
        self.streams = self._streams()
        self.sample_rows = SampleRows(
            tokenizer,
            form=prompt_form(tokenizer, dataset=info.name, dialogue=info.dialogue is not None),
            info=info,
            num_frames=num_frames,
            max_seq_len=max_seq_len,
            train=train,
            overflow=overflow,
            official_positions=official_positions,
        )

    def posed(self, sample: Sample, *, epoch: int = 0, draws: Draws | None = None) -> Sample:
        """The Sample itself, or a textual video with one question: the drawn one in training, else its first."""
        if not sample.qas:
            return sample
        if not self.train:
            return pose(sample, Draws(0, (), 0.0), balance=False)
        return pose(sample, draws or draw(sample, seed=self.seed, epoch=epoch), balance=self.teaching.balance)

    def rows(self, sample: Sample, *, epoch: int = 0) -> dict[str, list[Row]]:
        """Every stream's rows."""
        sample = self.posed(sample, epoch=epoch)
        if "vqa" in self.streams or not self.train:
            self.sample_rows.check(sample, needs_answer=self.train)
        if self.train and self.sample_rows.overflow == "skip" and sample.options:
            # Raises where it has no room; the official loader makes this row too and leaves the sample out then.
            self.sample_rows.rows("qav", sample, [sample.answer_idx])
        return {name: self._rows_of(name, sample, epoch) for name in self.streams}

    def video(self, sample: Sample, media: Tensor, *, epoch: int = 0) -> Tensor:
        """(F, E) as the model sees it: unit rows (of most benchmarks), in training with noise on textual videos;
        padding stays 0.
        """
        video = media.float() if self.info.name in _RAW_FEATURES else F.normalize(media.float(), dim=-1)
        if self.train and self.teaching.noise > 0 and sample.text_frames:
            # Changed: drawn for the frames that are shown, in the official code before frames are chosen.
            generator = torch.Generator().manual_seed(draw_seed(self.seed, epoch, sample.uid, "noise"))
            shown = video.any(dim=-1, keepdim=True)
            video = add_noise(video, variance=self.teaching.noise, generator=generator) * shown
        return single_frame(video) if self.every_second_frame else video

    def __call__(self, sample: Sample, media: Tensor | None, *, epoch: int = 0) -> dict[str, Any]:
        """One item for `collate`; `media` is (F, E)."""
        rows = self.rows(sample, epoch=epoch)
        num_frames = self.sample_rows.num_frames
        assert media is not None and media.shape[0] == num_frames, f"{sample.uid}: {num_frames} rows expected"
        posed = self.posed(sample, epoch=epoch)
        return {
            "uid": sample.uid,
            "video": self.video(sample, media, epoch=epoch),
            "answer_idx": -1 if posed.answer_idx is None else posed.answer_idx,
            "num_options": len(posed.options),
            "mode_draw": random.Random(draw_seed(self.seed, epoch, sample.uid, "mode")).random(),
            "rows": rows,
            "open": self._open_question(posed) if not self.train and self.select == "similarity" else None,
        }

    def collate(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """The batch the model reads.

        uid: list[str]; video (B, F, E) float32; answer_idx (B,), -1 where hidden; num_options (B,). Per stream a dict
        as in SampleRows.batch. In training also mode (the stream this micro-batch learns, drawn by its first sample)
        and plan (see plan_training), else tree (see pack_options) or, with select "similarity", open: before (T,), and
        lists over the samples of after (T',) and of options (list of (T'',)), all ids, and end, which ends an answer.
        """
        batch: dict[str, Any] = {
            "uid": [item["uid"] for item in items],
            "video": torch.stack([item["video"] for item in items]),
        }
        for name in ("answer_idx", "num_options"):
            batch[name] = torch.tensor([item[name] for item in items], dtype=torch.int64)
        if self.train:
            # Changed: the official draw is unseeded and differs per rank; ours depends on seed, epoch and sample.
            batch["mode"] = draw_mode(items[0]["mode_draw"], caption_share=self.teaching.caption_share)
        for name in [batch["mode"]] if self.train else self.streams:
            batch[name] = self.sample_rows.batch(name, [item["rows"][name] for item in items])
        if self.train:
            batch["plan"] = plan_training(batch[batch["mode"]])
        elif self.select == "similarity":
            batch["open"] = {name: [item["open"][name] for item in items] for name in ("after", "options")}
            batch["open"]["before"] = items[0]["open"]["before"]
            batch["open"]["end"] = self.sample_rows.maker.tokenizer.eos_id
        else:
            batch["tree"] = pack_options(*(batch[self.streams[0]][key] for key in ("ids", "labels", "lengths")))
        return batch

    def _streams(self) -> tuple[str, ...]:
        if not self.train:
            return {"letter": ("vqa",), "text": ("caption",), "similarity": ()}[self.select]
        share = self.teaching.caption_share
        return tuple(name for name, needed in {"vqa": share < 1.0, "caption": share > 0.0}.items() if needed)

    def _rows_of(self, name: str, sample: Sample, epoch: int) -> list[Row]:
        if name == "vqa":
            options = [sample.answer_idx] if self.train else list(range(len(sample.options)))
            return self.sample_rows.rows("vqa", sample, options)
        if not self.train:
            return self.open_rows(sample)
        uniform = draw(sample, seed=self.seed, epoch=epoch).uniform
        openly = answers_openly(sample) and uniform > 1.0 - self.teaching.open_share
        return [self.caption_row(sample, openly=openly)]

    def _open_question(self, sample: Sample) -> dict[str, Any]:
        """Ids before and after the video rows, up to where the answer begins, and the ids of each option's text."""
        maker, question = self.sample_rows.maker, self.sample_rows.texts(sample).question
        row = self.sample_rows.fit(open_row(maker, question, "Answer:"), "caption", sample)
        end = row.video_start + self.sample_rows.num_frames
        encoded = [maker.tokenizer.encode(option) for option in sample.options]
        return {
            "before": torch.tensor(row.ids[: row.video_start]),
            "after": torch.tensor(row.ids[end:-1]),  # less the end of the sequence
            "options": [torch.tensor(ids, dtype=torch.int64) for ids in encoded],
        }

    def open_rows(self, sample: Sample) -> list[Row]:
        """One row per option, its text as an open-ended answer."""
        answers = [open_answer(option, dataset=sample.dataset) for option in sample.options]
        question = self.sample_rows.texts(sample).question
        rows = [open_row(self.sample_rows.maker, question, answer) for answer in answers]
        return [self.sample_rows.fit(row, "caption", sample) for row in rows]

    def caption_row(self, sample: Sample, *, openly: bool) -> Row:
        """The Sample's open-ended answer, or its first text as a summary; DataError when it has none."""
        maker = self.sample_rows.maker
        if openly:
            row = open_row(maker, self.sample_rows.texts(sample).question, spoken_answer(sample.answers[0]))
        elif sample.texts:
            row = summary_row(maker, summary_text(sample.texts[0], dataset=sample.dataset))
        else:
            raise DataError(
                f"{sample.uid}: no caption to train on; set model.losses.caption_share to 0 for this benchmark"
            )
        return self.sample_rows.fit(row, "caption", sample)


def tokenizer_of(config: Any, cache_dir: Path | str | None) -> Tokenizer:
    """The language model's tokenizer. Without weights and tokenizer file the tiny one is taken (cache_dir)."""
    # Lazy: workers that only unpickle a processor need no language model.
    from vidalign.backbones.video_lm import find_tokenizer

    return open_tokenizer(
        find_tokenizer(config),
        cache_dir=cache_dir or "cache",
        size=config.size,
        pieces=SIZES[config.size].get("vocab_size"),
    )


def build_processor(
    config: Any, info: DatasetInfo, *, train: bool, seed: int, cache_dir: Path | str | None
) -> PromptProcessor:
    """From TOPAConfig."""
    return PromptProcessor(
        tokenizer_of(config, cache_dir),
        info=info,
        num_frames=config.num_frames,
        max_seq_len=config.max_seq_len if train else config.eval_max_seq_len or config.max_seq_len,
        train=train,
        seed=seed,
        overflow=config.overflow,
        select=config.select,
        teaching=Teaching(
            caption_share=config.losses.caption_share,
            open_share=config.losses.open_share,
            balance=config.losses.balance_options,
            noise=config.noise_variance,
        ),
        every_second_frame=config.every_second_frame,
    )
