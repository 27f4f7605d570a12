"""The drawn world as textual videos (TOPA): captions in place of pictures, never drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from vidalign.common.errors import DataError, unknown
from vidalign.common.sample import QA, DatasetInfo, Media, Sample, native_id
from vidalign.data.sets.base import Builder
from vidalign.data.shapes.builder import Shapes
from vidalign.data.shapes.questions import GROUPS, questions_of
from vidalign.data.shapes.samples import multiple_choice, sentence
from vidalign.data.shapes.world import CORE, Clip, make_clip

DATASET = "shapes_text"


class ShapesText(Builder):
    """train: clips of a split of their own, core kinds, with all their questions; none is a train, val or test clip of
    `shapes`. test: the very questions of shapes/test, over captions. Features by clip: runners/shapes/captions.py.
    """

    info: ClassVar[DatasetInfo] = DatasetInfo(
        name=DATASET, task="textvideo", headline="accuracy_core", groups=GROUPS, feature_fps=Shapes.info.feature_fps
    )
    type_numbers: ClassVar[Mapping[str, int]] = Shapes.type_numbers

    def clips(self, split: str) -> list[Clip]:
        """The clips of a split."""
        config = self.config
        if split == "train":
            return [
                make_clip(config.seed, "text_only", index, kind=CORE[index % len(CORE)])
                for index in range(config.num_train)
            ]
        if split == "test":
            return [make_clip(config.seed, "test", index) for index in range(config.num_test)]
        raise DataError(f"datasets.{DATASET}: {unknown('split', split, ('train', 'test'))}")

    def samples(self, split: str) -> list[Sample]:
        """One Sample per clip in train, one per question in test."""
        made = (
            [_with_questions(clip)]
            if split == "train"
            else [_as_text(sample, clip, split) for sample in multiple_choice(clip, split)]
            for clip in self.clips(split)
        )
        return [sample for samples in made for sample in samples][: self.config.max_samples]


def _with_questions(clip: Clip) -> Sample:
    return Sample(
        uid=f"{DATASET}/train/{clip.clip_id}",
        dataset=DATASET,
        split="train",
        task="textvideo",
        media=_media(clip),
        texts=(sentence(clip),),
        text_frames=_frames(clip),
        qas=tuple(
            QA(question=asked.text, options=asked.options, answer_idx=asked.answer_idx, answer=asked.answer)
            for asked in questions_of(clip)
        ),
    )


def _as_text(sample: Sample, clip: Clip, split: str) -> Sample:
    native = native_id(sample.uid)
    return replace(
        sample,
        uid=f"{DATASET}/{split}/{native}",
        dataset=DATASET,
        media=_media(clip),
        text_frames=_frames(clip),
    )


def _media(clip: Clip) -> Media:
    return Media(kind="text_frames", video_id=clip.clip_id)


def _frames(clip: Clip) -> tuple[tuple[str, ...], ...]:
    return tuple((caption,) for caption in clip.captions)
