"""SeViLAProcessor: (Sample, frames) -> token ids of localizer and answerer (specification vila, 4.1 and 6.4)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidalign.common.errors import DataError
from vidalign.common.sample import DatasetInfo, Sample
from vidalign.models.vila import prompts
from vidalign.models.vila.processor import (
    check_options,
    localizer_prompt,
    open_tokenizers,
    sample_prompt,
    seen_name,
    stacked_frames,
)
from vidalign.text.fast_tokenizers import FastTokenizer

FRAME_PREFIX = "Frame: "


class SeViLAProcessor:
    """Sample + frames (T, 3, px, px) -> item; items -> batch. Pickles to loader workers.

    needs_times: the dataset also hands over the times of the frames, from which QVHighlights' labels follow.
    """

    needs_times = True

    def __init__(
        self, t5: FastTokenizer, *, train: bool, trains: str, max_txt_len: int, frames_kept: int, repeat_last: int
    ) -> None:
        self.t5, self.train, self.trains, self.max_txt_len = t5, train, trains, max_txt_len
        self.num_frames = repeat_last
        self.letter_ids = [t5.one_id(letter) for letter in prompts.LETTERS]
        self.yes_no_ids = [t5.one_id("yes"), t5.one_id("no")]
        # Without the end token: the text goes on.
        self.frame_prefix = t5.words(FRAME_PREFIX)
        self.numbers = [t5.words(f"Frame {number}: ") for number in range(1, frames_kept + 1)]

    def __call__(
        self, sample: Sample, media: Tensor | None, *, epoch: int = 0, frames: Sequence[dict[str, float]] = ()
    ) -> dict[str, Any]:
        """One item for `collate`."""
        assert media is not None, f"{sample.uid}: frames expected"
        item = {"uid": sample.uid, seen_name(media): media, "loc": self._text(localizer_prompt(sample))}
        if sample.task == "moment":
            return item | self._moment(sample, frames)
        if self.trains == "localizer_pretraining":
            raise DataError(f"{sample.uid}: the localizer is pretrained on moments (QVHighlights), not on questions")
        check_options(sample, needs_answer=self.train)
        answer = -1 if sample.answer_idx is None else sample.answer_idx
        return item | {
            "answer_idx": answer,
            "num_options": len(sample.options),
            "prompt": self._text(sample_prompt(sample)),
            "target": self.t5.encode(prompts.target(max(answer, 0))),
        }

    def collate(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """The batch the model reads.

        uid; video (B, T, 3, px, px); loc_ids, loc_mask (B, L); yes_no_ids (2,); frame_prefix_ids (L,); number_ids and
        number_mask (K, L). Questions: prompt_ids, prompt_mask, answer_idx, num_options, letter_ids, and in training
        target_ids, target_mask. Moments: duration_seconds (B,), clip_seconds, and in training frame_labels (B, T).
        """
        batch: dict[str, Any] = {
            "uid": [item["uid"] for item in items],
            **stacked_frames(items),
            "letter_ids": torch.tensor(self.letter_ids),
            "yes_no_ids": torch.tensor(self.yes_no_ids),
            "frame_prefix_ids": torch.tensor(self.frame_prefix),
        }
        batch["number_ids"], batch["number_mask"] = self.t5.pad(self.numbers)
        batch["loc_ids"], batch["loc_mask"] = self.t5.pad([item["loc"] for item in items])
        if "duration_seconds" in items[0]:
            batch["duration_seconds"] = torch.tensor([item["duration_seconds"] for item in items])
            batch["clip_seconds"] = items[0]["clip_seconds"]
            if self.train:
                batch["frame_labels"] = torch.tensor([item["labels"] for item in items])
            return batch
        for name in ("answer_idx", "num_options"):
            batch[name] = torch.tensor([item[name] for item in items], dtype=torch.int64)
        batch["prompt_ids"], batch["prompt_mask"] = self.t5.pad([item["prompt"] for item in items])
        if self.train:
            batch["target_ids"], batch["target_mask"] = self.t5.pad([item["target"] for item in items], value=-100)
        return batch

    def _text(self, text: str) -> list[int]:
        # Kept: SeViLA cuts on the right, where ViLA cuts on the left.
        return self.t5.encode(text, max_length=self.max_txt_len, cut="right")

    def _moment(self, sample: Sample, frames: Sequence[dict[str, float]]) -> dict[str, Any]:
        if self.train and not sample.windows:
            raise DataError(f"{sample.uid}: its windows are hidden; training needs them, choose another split")
        seconds = [frame["seconds"] for frame in frames]
        # Frames that repeat the last one have its label.
        seconds += seconds[-1:] * (self.num_frames - len(seconds))
        words = prompts.moment_target(seconds, sample.windows).split("_")
        duration = sample.media.duration_seconds if sample.media is not None else None
        if duration is None:
            raise DataError(f"{sample.uid}: its duration is not known; windows are fractions of it")
        return {
            "labels": [int(word == "yes") for word in words],
            "duration_seconds": float(duration),
            "clip_seconds": sample.clip_len or 2.0,
        }


def sevila_processor(config: Any, info: DatasetInfo, *, train: bool, cache_dir: Path | None) -> SeViLAProcessor:
    """The processor of SeViLA."""
    t5, _ = open_tokenizers(config, cache_dir, bert=False)
    return SeViLAProcessor(
        t5,
        train=train,
        trains=config.trains,
        max_txt_len=config.max_txt_len,
        frames_kept=min(config.frames_kept, config.num_frames),
        repeat_last=config.num_frames,
    )
