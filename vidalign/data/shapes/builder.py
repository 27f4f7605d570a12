"""Builder of the drawn benchmark: `datasets: {shapes: {train: train, eval: test}}`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from vidalign.common import dist
from vidalign.common.errors import DataError, unknown
from vidalign.common.sample import DatasetInfo, Sample
from vidalign.data.sets.base import Builder
from vidalign.data.shapes import one_moment
from vidalign.data.shapes.files import ALL_KINDS, draw_missing, folder_name, make_clips
from vidalign.data.shapes.questions import GROUPS
from vidalign.data.shapes.samples import DATASET, conversation, multiple_choice, open_ended
from vidalign.data.shapes.world import SLOT_SECONDS, Clip


class Shapes(Builder):
    """`Shapes(config).samples(split)`: draws the clips of the split that are not there yet."""

    info: ClassVar[DatasetInfo] = DatasetInfo(
        name=DATASET,
        task="mc_qa",
        headline="accuracy_core",
        groups={**GROUPS, **one_moment.GROUPS},
        feature_fps=1 / SLOT_SECONDS,
    )
    type_numbers: ClassVar[Mapping[str, int]] = {
        name: number for number, name in enumerate((*GROUPS["core"], *GROUPS["hard"]), start=1)
    }

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        if config.form == "open":
            self.info = replace(type(self).info, task="open_qa", headline="exact_match_core")

    @property
    def media_root(self) -> Path:
        """Folder of the mp4 files of this seed (and control)."""
        return self.root / folder_name(self.config.seed, self.config.blind, self.config.kinds)

    def clips(self, split: str) -> list[Clip]:
        """The clips of a split, undrawn."""
        counts = {"train": self.config.num_train, "val": self.config.num_val, "test": self.config.num_test}
        if split not in counts:
            raise DataError(f"datasets.{DATASET}: {unknown('split', split, counts)}")
        for name in ("kinds", "train_kinds"):
            for kind in getattr(self.config, name) or ():
                if kind not in ALL_KINDS:
                    raise DataError(f"datasets.{DATASET}.{name}: {unknown('kind', kind, ALL_KINDS)}")
        return make_clips(self.config.seed, split, counts[split], self.config.kinds)

    def samples(self, split: str) -> list[Sample]:
        """The questions of a split in the clips' order, or its conversations; their videos exist afterwards.

        All processes of a run must call this together: the first one draws, the others wait.
        """
        clips = self.clips(split)
        make = self._form(split)
        asked = clips if make is not conversation else [clip for clip in clips if self._is_trained_on(clip)]
        samples = [sample for clip in asked for sample in make(clip, split)][: self.config.max_samples]
        needed = {sample.media.video_id for sample in samples}
        if dist.is_main():
            clips = [clip for clip in clips if clip.clip_id in needed]
            draw_missing(clips, self.media_root, blind=self.config.blind, workers=self.config.workers)
        dist.barrier()
        return samples

    def _form(self, split: str) -> Callable[[Clip, str], list[Sample]]:
        if self.config.form == "options":
            return multiple_choice
        return conversation if split == "train" else open_ended

    def _is_trained_on(self, clip: Clip) -> bool:
        return self.config.train_kinds is None or clip.kind in self.config.train_kinds
