"""A class or a number per video: COIN and the nine tasks of LVU (specification benchmarks, sections 14 and 15)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from vidalign.common.errors import DataError
from vidalign.common.options import option
from vidalign.common.sample import DatasetInfo, Sample
from vidalign.data.sets.base import AnnotationBuilder
from vidalign.data.sets.config import DatasetConfig
from vidalign.data.sets.files import FoundFile
from vidalign.data.sets.rows import Row, read_csv, read_json_object, read_jsonl

_COIN_SPLITS = {"training": "train", "validation": "test", "testing": "test"}
REGRESSION = ("like_ratio", "view_count")
# task -> rows of train, val, test
LVU_COUNTS = {
    "relationship": (149, 53, 42),
    "way_speaking": (939, 205, 201),
    "scene": (557, 120, 86),
    "director": (680, 163, 107),
    "writer": (769, 174, 168),
    "year": (770, 165, 143),
    "genre": (3063, 597, 647),
    "like_ratio": (658, 142, 140),
    "view_count": (577, 124, 126),
}


class Coin(AnnotationBuilder):
    """`COIN.json`, or LF-VILA's `<split>.jsonl` (`video_id`, `recipe_type`): the task of 180 that a video shows.

    The official validation (in some copies "testing") subset is the split test. The whole video counts, not its
    `start` to `end`. Steps are in `texts` and `text_spans`.
    """

    info = DatasetInfo(name="coin", task="classification", expected_counts={"train": 9030, "test": 2797})
    patterns: ClassVar = ("COIN.json", "{split}.jsonl")
    companions: ClassVar = ("taxonomy.xlsx",)

    @classmethod
    def parts(cls, found: FoundFile) -> list[str]:
        """The splits whose subsets occur."""
        path = found.root / "COIN.json"
        subsets = {str(one.get("subset")) for one in _database(path).values()}
        return list(dict.fromkeys(split for name, split in _COIN_SPLITS.items() if name in subsets))

    def rows_of(self, split: str) -> Iterable[Row]:
        """One row per video, its id as "video_id"."""
        path = self.given or self.file("COIN.json", f"{split}.jsonl")
        if path.suffix == ".jsonl":
            yield from read_jsonl(path)
            return
        for index, (video, values) in enumerate(_database(path).items()):
            row = Row(path, f"video {video}", index, {**values, "video_id": video})
            subset = _COIN_SPLITS.get(row.text("subset"))
            if subset is None:
                self.left_out.append(f"{row.place}: unknown subset {row.text('subset')!r}")
            elif subset == split:
                yield row

    def sample(self, row: Row, split: str) -> Sample:
        """uid by the video; label = recipe_type, answer = the task's name."""
        video, steps = row.text("video_id"), row.values.get("annotation") or []
        name = row.text("class") if row.has("class") else None
        if not isinstance(steps, list) or not all(map(_is_step, steps)):
            raise row.error("annotation", "a list of {id, label, segment [start, end]} expected")
        return Sample(
            uid=self.uid(split, video),
            dataset=self.info.name,
            split=split,
            task="classification",
            media=self.media(
                video, f"{video}.mp4", duration_seconds=row.number("duration") if row.has("duration") else None
            ),
            label=row.number("recipe_type"),
            answer=name,
            texts=tuple(row.as_text("annotation", step["label"]) for step in steps),
            text_spans=tuple(row.check_span("annotation", *step["segment"]) or (0.0, 0.0) for step in steps),
            meta=row.rest(("video_id", "recipe_type", "class", "duration")),
        )


def _is_step(step: object) -> bool:
    whole = isinstance(step, dict) and {"label", "segment"} <= step.keys()
    return whole and isinstance(step["segment"], list) and len(step["segment"]) == 2


def _database(path: Path) -> dict[str, Any]:
    database = read_json_object(path, "with `database`").get("database")
    if not isinstance(database, dict) or not all(isinstance(one, dict) for one in database.values()):
        raise DataError(f"{path}: an object with `database`, which has an object for each video, expected")
    return database


@dataclass
class LvuConfig(DatasetConfig):
    """DatasetConfig and which of the nine tasks."""

    task: str = option("relationship", "which of the nine tasks", choices=tuple(LVU_COUNTS))


class Lvu(AnnotationBuilder):
    """`[lvu_1.0/]<task>/<split>.csv`, separated by blanks, or LF-VILA's `<task>/<split>.jsonl`.

    Seven tasks have a class per video, like_ratio and view_count a number: 10 likes / (likes + dislikes), ln(views),
    as they are before any centring.
    """

    info = DatasetInfo(name="lvu", task="classification", expected_counts={"train": 0, "val": 0, "test": 0})
    patterns: ClassVar = ("{task}/{split}.csv", "lvu_1.0/{task}/{split}.csv", "{task}/{split}.jsonl")

    def __init__(self, config: LvuConfig) -> None:
        super().__init__(config)
        if config.task not in LVU_COUNTS:
            raise DataError(f"datasets.lvu.task: {config.task!r} is not one of {', '.join(LVU_COUNTS)}")
        number = config.task in REGRESSION
        self.info = DatasetInfo(
            name="lvu",
            task="regression" if number else "classification",
            headline="mse" if number else "accuracy",
            expected_counts=dict(zip(("train", "val", "test"), LVU_COUNTS[config.task], strict=True)),
        )

    @classmethod
    def find(cls, place: Path, split: str | None = None) -> list[FoundFile]:
        """Files of the nine tasks only; `place` may be the folder of one of them."""
        if place.name in LVU_COUNTS and place.is_dir():
            return [one for one in super().find(place.parent, split) if one.settings["task"] == place.name]
        return [one for one in super().find(place, split) if one.settings.get("task", "scene") in LVU_COUNTS]

    def rows_of(self, split: str) -> Iterable[Row]:
        """Rows with `youtube_id`."""
        path = self.split_file(split)
        if path.suffix == ".jsonl":
            return (replace(row, values={**row.values, "youtube_id": row.text("video_id")}) for row in read_jsonl(path))
        return read_csv(path, ("youtube_id", "imdb_id"), delimiter=" ")

    def sample(self, row: Row, split: str) -> Sample:
        """uid `lvu/<split>/<task>_<youtube_id>`."""
        video, task = row.text("youtube_id"), self.config.task
        used = ("youtube_id", "video_id", "class_id", "class_name", "recipe_type")
        return Sample(
            uid=self.uid(split, f"{task}_{video}"),
            dataset=self.info.name,
            split=split,
            task=self.info.task,
            media=self.media(video, f"{video}.mp4"),
            label=self._label(row),
            answer=row.text("class_name") if row.has("class_name") else None,
            qtype=task,
            meta=row.rest(used),
        )

    def _label(self, row: Row) -> float:
        if "recipe_type" in row.values:
            return row.number("recipe_type")
        if self.config.task == "like_ratio":
            likes, dislikes = row.number("like_count"), row.number("dislike_count")
            if likes + dislikes <= 0:
                raise row.error("like_count", "neither a like nor a dislike, so there is no ratio")
            return 10 * likes / (likes + dislikes)
        if self.config.task == "view_count":
            views = row.number("view_count")
            if views <= 0:
                raise row.error("view_count", "at least one view expected")
            return math.log(views)
        return row.number("class_id")
