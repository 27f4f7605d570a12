"""Video captions: MSR-VTT, VATEX (specification benchmarks, section 16), and `clip_captions`, written for real clips.

One Sample per video with all its reference captions. Where a split is only trained on, every caption is a Sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from vidalign.common.errors import DataError
from vidalign.common.sample import DatasetInfo, Sample
from vidalign.data.sets.base import AnnotationBuilder
from vidalign.data.sets.files import FoundFile
from vidalign.data.sets.rows import Row, csv_columns, read_csv, read_json, read_json_rows, told_as_data_error

# The official files' names of the splits.
_OWN_NAMES = {"validate": "val", "validation": "val"}


class Captions(AnnotationBuilder):
    """What the caption sets share; a subclass yields rows with `video_id` and `captions`, a list of texts."""

    def read(self, split: str) -> Iterable[Sample]:
        """One Sample per video, or per caption where the split is trained on and not evaluated."""
        samples = (self.sample(row, split) for row in self.rows_of(split))
        return (one for sample in samples for one in (_one_each(sample) if self._only_trained(split) else (sample,)))

    def sample(self, row: Row, split: str) -> Sample:
        """uid `<dataset>/<split>/<video id>`; no answers where the captions are hidden."""
        video = row.text("video_id")
        captions = row.values.get("captions") or []
        if not isinstance(captions, list):
            raise row.error("captions", "a list of texts expected")
        texts = tuple(row.as_text("captions", text) for text in captions)
        return Sample(
            uid=self.uid(split, video),
            dataset=self.info.name,
            split=split,
            task="caption",
            media=self.media(video, str(row.values.get("file", f"{video}.mp4"))),
            answers=texts,
            texts=texts[:1],
            qtype=str(row.values["category"]) if row.has("category") else None,
            meta=row.rest(("video_id", "captions", "category", "file")),
        )

    def expected_count(self, split: str) -> int | None:
        """Published number of videos; where every caption is a Sample nobody counted."""
        return None if self._only_trained(split) else super().expected_count(split)

    def _only_trained(self, split: str) -> bool:
        return split == self.config.train and split != self.config.eval


class MsrVtt(Captions):
    """MSR-VTT: `videodatainfo_2017.json` with all splits, `test_videodatainfo.json`, `train_val_videodatainfo.json`.

    These hold {info, videos [{video_id, split, ...}], sentences [{video_id, caption, sen_id}]}. Read are also the lists
    of the retrieval community: `MSRVTT_<split>.csv` (video_id, with or without a sentence) and Violet's json.
    """

    info = DatasetInfo(
        name="msrvtt",
        task="caption",
        headline="cider",
        expected_counts={
            **{"train": 6513, "val": 497, "test": 2990},
            **{"JSFUSION_test": 1000, "test.full": 2990, "train.7k": 7010, "train.9k": 9000},
        },
    )
    patterns: ClassVar = (
        "{split}_videodatainfo.json",
        *("videodatainfo_2017.json", "MSRVTT_data.json"),
        "train_val_videodatainfo.json",
        "MSRVTT_{split}.csv",
        "txt_msrvtt-retrieval.json",
    )

    @classmethod
    def find(cls, place: Path, split: str | None = None) -> list[FoundFile]:
        """The file once for every split that it holds, whatever its name."""
        if place.is_file() and place.suffix == ".json":
            return [FoundFile(place, place.parent, part) for part in _splits(place) if split in (None, part)]
        return super().find(place, split)

    @classmethod
    def parts(cls, found: FoundFile) -> list[str]:
        """The splits inside a file."""
        return _splits(found.path)

    def split_file(self, split: str) -> Path:
        """The first file that exists and holds the split."""
        if self.given is not None:
            return self.given
        names = (pattern.format(split=split) for pattern in self.patterns)
        paths = [self.root / name for name in names if (self.root / name).is_file()]
        fitting = (path for path in paths if path.suffix == ".csv" or split in _splits(path))
        return next(fitting, None) or self.file(*(pattern.format(split=split) for pattern in self.patterns[:-1]))

    def rows_of(self, split: str) -> Iterator[Row]:
        """The split's videos with their captions, in the order of the file."""
        path = self.split_file(split)
        if path.suffix == ".csv":
            with_text = "sentence" in csv_columns(path)
            rows = read_csv(path, ("video_id", "sentence") if with_text else ("video_id",))
            return _by_video(rows, "video_id", "sentence" if with_text else None)
        content = read_json(path)
        if "videos" not in content:
            return _by_video(_listed(path, content, split), "video", "caption")
        videos = [row for row in _listed(path, content, "videos") if _own_split(row.values) == split]
        return _captioned(videos, _listed(path, content, "sentences"), path, content)

    @property
    def media_root(self) -> Path:
        """`videos`, or the folder of the release where that is there."""
        released = self.root / "TestVideo"
        return released if self.config.videos is None and released.is_dir() else super().media_root


class Vatex(Captions):
    """VATEX v1.0: `vatex_<split>_v1.0.json`, a list of {videoID, enCap, chCap}; a `.txt` list of ids is unlabelled."""

    info = DatasetInfo(
        name="vatex",
        task="caption",
        headline="cider",
        expected_counts={"train": 25991, "val": 3000, "test": 6000, "test1k5": 1500},
    )
    patterns: ClassVar = ("vatex_{split}_v1.0.json", "{split}_sec_list.txt")
    split_names: ClassVar = {"train": "training", "val": "validation", "test": "public_test_english"}

    def rows_of(self, split: str) -> Iterator[Row]:
        """The English captions, ten per video; the Chinese ones stay in the row."""
        path = self.split_file(split)
        if path.suffix == ".txt":
            with told_as_data_error(path):
                ids = path.read_text(encoding="utf-8").split()
            rows = (
                Row(path, f"line {number}", number - 1, {"videoID": one}) for number, one in enumerate(ids, start=1)
            )
        else:
            rows = read_json_rows(path)
        for row in rows:
            rest = {key: value for key, value in row.values.items() if key not in ("videoID", "enCap")}
            yield replace(row, values={"video_id": row.text("videoID"), "captions": row.values.get("enCap"), **rest})


class ClipCaptions(Captions):
    """`clips/captions.json`: captions of the real videos under `videos/`."""

    info = DatasetInfo(name="clip_captions", task="caption", headline="cider")
    patterns: ClassVar = ("clips/captions.json", "captions.json")

    @classmethod
    def parts(cls, found: FoundFile) -> list[str]:
        """One split, as of `clips`."""
        return ["val"]

    def rows_of(self, split: str) -> Iterable[Row]:
        """Objects {video_id, file, captions}."""
        return read_json_rows(self.split_file(split))


def _splits(path: Path) -> list[str]:
    """The splits that an MSR-VTT file holds, in their order."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(f"{path}: an object with `videos` and `sentences` expected, found {type(content).__name__}")
    if "videos" in content:
        return list(dict.fromkeys(_own_split(row.values) for row in _listed(path, content, "videos")))
    return [key for key, value in content.items() if isinstance(value, list)]


def _own_split(values: dict[str, object]) -> str:
    name = str(values.get("split", "test"))
    return _OWN_NAMES.get(name, name)


def _listed(path: Path, content: object, key: str) -> list[Row]:
    items = content.get(key) if isinstance(content, dict) else None
    if not isinstance(items, list) or not all(isinstance(one, dict) for one in items):
        raise DataError(f"{path}: {key!r} must be a list of objects")
    return [Row(path, f"{key} item {index + 1}", index, values) for index, values in enumerate(items)]


def _captioned(videos: list[Row], sentences: list[Row], path: Path, content: dict[str, object]) -> Iterator[Row]:
    """Videos with their sentences; DataError for a sentence of a video that the file does not list."""
    texts: dict[str, list[str]] = {row.text("video_id"): [] for row in _listed(path, content, "videos")}
    for row in sentences:
        if row.text("video_id") not in texts:
            raise row.error("video_id", "this video is not among the file's `videos`; get the complete file")
        texts[row.text("video_id")].append(row.text("caption"))
    for row in videos:
        yield replace(row, values={**row.values, "captions": texts[row.text("video_id")]})


def _by_video(rows: Iterable[Row], video: str, caption: str | None) -> Iterator[Row]:
    """One row per video, in the order of their first rows, with the captions of all its rows."""
    first: dict[str, Row] = {}
    texts: dict[str, list[str]] = {}
    for row in rows:
        name = row.text(video)
        first.setdefault(name, row)
        texts.setdefault(name, []).extend([] if caption is None else [row.text(caption)])
    for name, row in first.items():
        rest = {key: value for key, value in row.values.items() if key not in (video, caption)}
        yield replace(row, values={"video_id": name, "captions": texts[name], **rest})


def _one_each(sample: Sample) -> Iterator[Sample]:
    for number, text in enumerate(sample.answers):
        yield replace(sample, uid=f"{sample.uid}#{number}", answers=(text,), texts=(text,))
