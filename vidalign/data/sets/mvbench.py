"""MVBench (specification benchmarks, section 9): twenty tasks of 200 questions each, one file per task."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vidalign.common.sample import DatasetInfo, Media, Sample
from vidalign.data.sets.base import AnnotationBuilder
from vidalign.data.sets.files import FoundFile
from vidalign.data.sets.rows import Row, read_json_rows

_USED = ("video", "question", "candidates", "answer", "task")
_TIMES = ("start", "end")
FRAMES_PER_SECOND = 3.0


@dataclass(frozen=True)
class Source:
    """Where the videos of a task lie under `video/`. timed: questions have a start and an end. images: folders of
    numbered pictures, three per second."""

    folder: str
    timed: bool = False
    images: bool = False


_CHARADES, _CLEVRER = "star/Charades_v1_480", "clevrer/video_validation"
_PERCEPTION = "perception/videos"
TASKS = {
    "action_sequence": Source(_CHARADES, timed=True),
    "action_prediction": Source(_CHARADES, timed=True),
    "action_antonym": Source("ssv2_video"),
    "fine_grained_action": Source("Moments_in_Time_Raw/videos"),
    "unexpected_action": Source("FunQA_test/test"),
    "object_existence": Source(_CLEVRER),
    "object_interaction": Source(_CHARADES, timed=True),
    "object_shuffle": Source(_PERCEPTION),
    "moving_direction": Source(_CLEVRER),
    "action_localization": Source("sta/sta_video", timed=True),
    "scene_transition": Source("scene_qa/video"),
    "action_count": Source(_PERCEPTION),
    "moving_count": Source(_CLEVRER),
    "moving_attribute": Source(_CLEVRER),
    "state_change": Source(_PERCEPTION),
    "fine_grained_pose": Source("nturgbd"),
    "character_order": Source(_PERCEPTION),
    "egocentric_navigation": Source("vlnqa"),
    "episodic_reasoning": Source("tvqa/frames_fps3_hq", timed=True, images=True),
    "counterfactual_inference": Source(_CLEVRER),
}


class MVBench(AnnotationBuilder):
    """`json/<task>.json`, videos under `video/`. One split, `test`; the question type is the task.

    A task whose file is missing is named as left out; a question whose video is missing stays and counts as wrong.
    """

    info = DatasetInfo(name="mvbench", task="mc_qa", expected_counts={"test": 4000})
    expected_parts: ClassVar = {"test": dict.fromkeys(TASKS, 200)}
    patterns: ClassVar = tuple(f"json/{task}.json" for task in TASKS)

    @property
    def media_root(self) -> Path:
        """`video`, as the release has it."""
        return self.root / (self.config.videos or "video")

    @classmethod
    def find(cls, place: Path, split: str | None = None) -> list[FoundFile]:
        """The whole benchmark of a folder, or one task's file."""
        if split not in (None, "test"):
            return []
        if place.is_file():
            return [FoundFile(place, place.parent.parent if place.parent.name == "json" else place.parent, "test")]
        there = any((place / pattern).is_file() for pattern in cls.patterns)
        return [FoundFile(place / "json", place, "test")] if there else []

    def rows_of(self, split: str) -> Iterator[Row]:
        """The tasks' rows, in the order of the table; each row knows its task."""
        if self.given is not None:
            yield from self._task_rows(self.given.stem, self.given)
            return
        if not any((self.root / pattern).is_file() for pattern in self.patterns):
            self.file(*self.patterns[:2])  # raises: nothing is there
        for task in TASKS:
            path = self.root / "json" / f"{task}.json"
            if path.is_file():
                yield from self._task_rows(task, path)
            else:
                self.left_out.append(f"task {task}: json/{path.name} is missing")

    def sample(self, row: Row, split: str) -> Sample:
        """uid `mvbench/test/<task>_<row>`; the true option is the last one with the answer's text, as officially."""
        task = row.values["task"]
        candidates = row.get("candidates")
        if not isinstance(candidates, list) or len(candidates) < 2:
            raise row.error("candidates", "a list of at least two options expected")
        options = tuple(row.as_text("candidates", text) for text in candidates)
        answer = row.text("answer") if row.has("answer") else None
        if answer is not None and answer not in options:
            raise row.error("answer", "not one of the candidates")
        # Kept: of repeated options the last one counts as true. [small_functions]
        index = None if answer is None else max(i for i, option in enumerate(options) if option == answer)
        source = TASKS.get(task, Source(""))
        timed = source.timed or not source.folder
        return Sample(
            uid=self.uid(split, f"{task}_{row.index}"),
            dataset=self.info.name,
            split=split,
            task="mc_qa",
            media=self._video(source, row.text("video")),
            span=row.span(*_TIMES) if timed else None,
            question=row.text("question"),
            options=options,
            answer_idx=index,
            answer=answer,
            qtype=task,
            meta=row.rest((*_USED, *_TIMES) if timed else _USED),
        )

    def _video(self, source: Source, name: str) -> Media:
        """Named by folder and file, because the sources number their videos alike."""
        path = f"{source.folder}/{name}" if source.folder else name
        if source.images:
            return self.media(path, path, kind="frames", fps=FRAMES_PER_SECOND)
        return self.media(path, path)

    def _task_rows(self, task: str, path: Path) -> Iterator[Row]:
        for row in read_json_rows(path):
            yield Row(row.file, row.place, row.index, {**row.values, "task": task})
