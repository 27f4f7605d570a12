"""LF-VILA-8M: runs of clips that follow one another, each with its speech (specification lf_vila, section 7).

A record is a list of {clip_id, text} in time order. Three stores of records are read: JSON Lines, LMDB (`<split>_db`,
key str(index)) and tar shards (`<split>-*.tar`, one `.json` per record and, if wanted, its clips beside it). A line of
HD-VILA's metadata, {video_id, url, clip [{clip_id, span ["hh:mm:ss.mmm", ...]}]}, is read as the clips of its video;
`data_prep/lfvila8m.py` makes records.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from vidalign.common.errors import DataError
from vidalign.common.sample import DatasetInfo, Media, Sample
from vidalign.data.sets.base import AnnotationBuilder
from vidalign.data.sets.files import FoundFile
from vidalign.data.sets.rows import Row, told_as_data_error
from vidalign.media.tar_shards import members, read_member


class LFVila8M(AnnotationBuilder):
    """`<split>.jsonl`, `<split>_db` or `<split>-*.tar`; clips at `videos/<video_id>/<clip_id>`."""

    info = DatasetInfo(name="lfvila8m", task="retrieval", headline="R@1", expected_counts={"train": 8_523_237})
    patterns: ClassVar = ("{split}.jsonl",)

    @classmethod
    def find(cls, place: Path, split: str | None = None) -> list[FoundFile]:
        """JSON Lines, and in a folder the other two kinds of store, which come first."""
        found = super().find(place, split)
        if not place.is_dir():
            return found
        shards = {path.name.rpartition("-")[0]: path for path in sorted(place.glob("*-*.tar"), reverse=True)}
        stores = shards | {path.name.removesuffix("_db"): path for path in sorted(place.glob("*_db"))}
        others = [FoundFile(path, place, name) for name, path in stores.items() if split in (None, name)]
        return [*others, *(one for one in found if one.split not in stores)]

    def rows_of(self, split: str) -> Iterable[Row]:
        """One row per record, its list as "clips"."""
        if self.given is not None:
            return _rows(self.given, (tar_records if self.given.suffix == ".tar" else jsonl_records)(self.given))
        shards = sorted(self.root.glob(f"{split}-*.tar"))
        if (self.root / f"{split}_db").exists():
            return _rows(self.root / f"{split}_db", lmdb_records(self.root / f"{split}_db"))
        if shards:
            return (row for shard in shards for row in _shard_rows(shard))
        path = self.file(f"{split}.jsonl")
        return _rows(path, jsonl_records(path))

    def sample(self, row: Row, split: str) -> Sample:
        """uid `lfvila8m/<split>/<first clip>`; `media.parts` are the clips, `texts` their speech."""
        if isinstance(row.get("clips"), dict):
            return self._whole_video(replace(row, values=row.get("clips")), split)
        clips = row.get("clips")
        if not isinstance(clips, list) or not all(
            isinstance(one, dict) and {"clip_id", "text"} <= one.keys() for one in clips
        ):
            raise row.error("clips", "a list of objects with clip_id and text expected")
        if len(clips) < 4:
            raise row.error("clips", f"{len(clips)} clips; a record has four or more that follow one another")
        names = [row.as_text("clips", one["clip_id"]) for one in clips]
        video = names[0].split(".")[0]
        places = row.values.get("places") or [f"{video}/{name}" for name in names]
        return Sample(
            uid=self.uid(split, names[0]),
            dataset=self.info.name,
            split=split,
            task="retrieval",
            media=Media(kind="clips", video_id=names[0], parts=tuple(places)),
            texts=tuple(row.as_text("clips", one["text"]) for one in clips),
            meta={"row": row.index},
        )

    def _whole_video(self, row: Row, split: str) -> Sample:
        """A line of HD-VILA's metadata: uid `lfvila8m/<split>/<video>`, the clips' times in `text_spans`, their speech
        in `texts` where every clip has one."""
        video, clips = row.text("video_id"), row.get("clip")
        if not isinstance(clips, list) or not clips or not all(isinstance(one, dict) for one in clips):
            raise row.error("clip", "a list of {clip_id, span} expected")
        names = [row.as_text("clip", one.get("clip_id")) for one in clips]
        spoken = all("text" in one for one in clips)
        return Sample(
            uid=self.uid(split, video),
            dataset=self.info.name,
            split=split,
            task="retrieval",
            media=Media(kind="clips", video_id=video, parts=tuple(f"{video}/{name}" for name in names)),
            texts=tuple(row.as_text("clip", one["text"]) for one in clips) if spoken else (),
            text_spans=tuple(_seconds(row, one.get("span")) for one in clips),
            meta=row.rest(("video_id", "clip")),
        )


def _seconds(row: Row, span: object) -> tuple[float, float]:
    """["hh:mm:ss.mmm", "hh:mm:ss.mmm"] -> seconds."""
    try:
        start, end = (3600 * int(h) + 60 * int(m) + float(s) for h, m, s in (time.split(":") for time in span))
    except (TypeError, ValueError, AttributeError):
        raise row.error("clip", f'span ["hh:mm:ss.mmm", "hh:mm:ss.mmm"] expected, found {span!r}') from None
    return row.check_span("clip", start, end)


def _rows(path: Path, records: Iterable[Any]) -> Iterator[Row]:
    for index, clips in enumerate(records):
        yield Row(path, f"record {index}", index, {"clips": clips})


def _shard_rows(shard: Path) -> Iterator[Row]:
    for index, (clips, inside) in enumerate(tar_records(shard)):
        # A path in a shard is absolute: shards lie beside the records, not under the videos.
        places = None if inside is None else [str(shard.parent.resolve() / one) for one in inside]
        yield Row(shard, f"record {index}", index, {"clips": clips, "places": places})


def jsonl_records(path: Path) -> Iterator[Any]:
    """Records of a JSON Lines file."""
    with told_as_data_error(path), open(path, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            try:
                if line.strip():
                    yield json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{path}:{number}: not a line of JSON: {error}") from error


def literal_record(text: str, *, where: str) -> Any:
    """A record written as a Python literal. Changed: the official loader evaluates it as code."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise DataError(f"{where}: not a literal list of clips ({error}); nothing in it was run") from error


def lmdb_records(path: Path) -> Iterator[Any]:
    """Records of an LMDB in the order 0, 1, 2 ...; needs the package lmdb."""
    try:
        import lmdb
    except ImportError as error:
        raise DataError(
            f"{path}: reading it needs lmdb: pip install 'vidalign[lmdb]', or convert it to {path.name}.jsonl"
        ) from error
    try:
        with lmdb.open(str(path), readonly=True, lock=False, subdir=path.is_dir()) as db, db.begin() as view:
            index = 0
            while (value := view.get(str(index).encode())) is not None:
                yield literal_record(value.decode("utf-8"), where=f"{path}, key {index}")
                index += 1
    except lmdb.Error as error:
        raise DataError(f"{path}: cannot be read as LMDB: {error}") from error


def tar_records(path: Path) -> Iterator[tuple[Any, list[str] | None]]:
    """(record, places of its clips in the shard or None) of one shard, in its order.

    webdataset's layout: `<key>.json` is a record; its clips, where they are in the shard, are `<key>.0.mp4`,
    `<key>.1.mp4` ... in the record's order.
    """
    records: dict[str, Any] = {}
    videos: dict[str, dict[int, str]] = {}
    for member in members(path):
        folder, _, base = member.name.rpartition("/")
        key, _, rest = base.partition(".")
        key = f"{folder}/{key}"
        if rest == "json":
            try:
                records[key] = json.loads(read_member(path.parent / member.path(path.name)))
            except ValueError as error:
                raise DataError(f"{path}: {member.name} is not JSON: {error}") from error
        elif rest.split(".")[0].isdigit():
            videos.setdefault(key, {})[int(rest.split(".")[0])] = member.path(path.name)
    for key, record in records.items():
        own = videos.get(key)
        if own is not None and isinstance(record, list) and sorted(own) != list(range(len(record))):
            raise DataError(
                f"{path}: record {key} has {len(record)} clips, its videos in the shard are numbered "
                f"{', '.join(map(str, sorted(own)))}; pack the shard again"
            )
        yield record, None if own is None else [own[number] for number in sorted(own)]
