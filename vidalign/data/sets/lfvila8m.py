"""LF-VILA-8M: runs of clips that follow one another, each with its speech (specification lf_vila, section 7).

A record is a list of {clip_id, text} in time order. Three stores of records are read: JSON Lines, LMDB (`<split>_db`,
key str(index)) and tar shards (`<split>-*.tar`, one `.json` per record).
"""

from __future__ import annotations

import ast
import json
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from vidalign.common.errors import DataError
from vidalign.common.sample import DatasetInfo, Media, Sample
from vidalign.data.sets.base import AnnotationBuilder
from vidalign.data.sets.rows import Row


class LFVila8M(AnnotationBuilder):
    """`<split>.jsonl`, `<split>_db` or `<split>-*.tar`; clips at `videos/<video_id>/<clip_id>`."""

    info = DatasetInfo(name="lfvila8m", task="retrieval", headline="R@1")
    patterns: ClassVar = ("{split}.jsonl",)

    def rows_of(self, split: str) -> Iterable[Row]:
        """One row per record, its list as "clips"."""
        shards = sorted(self.root.glob(f"{split}-*.tar"))
        if (self.root / f"{split}_db").exists():
            return _rows(self.root / f"{split}_db", lmdb_records(self.root / f"{split}_db"))
        if shards:
            return (row for shard in shards for row in _rows(shard, tar_records(shard)))
        path = self.file(f"{split}.jsonl")
        return _rows(path, jsonl_records(path))

    def sample(self, row: Row, split: str) -> Sample:
        """uid `lfvila8m/<split>/<first clip>`; `media.parts` are the clips, `texts` their speech."""
        clips = row.get("clips")
        if not isinstance(clips, list) or not all(
            isinstance(one, dict) and {"clip_id", "text"} <= one.keys() for one in clips
        ):
            raise row.error("clips", "a list of objects with clip_id and text expected")
        if len(clips) < 4:
            raise row.error("clips", f"{len(clips)} clips; a record has four or more that follow one another")
        names = [row.as_text("clips", one["clip_id"]) for one in clips]
        video = names[0].split(".")[0]
        return Sample(
            uid=self.uid(split, names[0]),
            dataset=self.info.name,
            split=split,
            task="retrieval",
            media=Media(kind="clips", video_id=names[0], parts=tuple(f"{video}/{name}" for name in names)),
            texts=tuple(row.as_text("clips", one["text"]) for one in clips),
            meta={"row": row.index},
        )


def _rows(path: Path, records: Iterable[Any]) -> Iterator[Row]:
    for index, clips in enumerate(records):
        yield Row(path, f"record {index}", index, {"clips": clips})


def jsonl_records(path: Path) -> Iterator[Any]:
    """Records of a JSON Lines file."""
    with open(path, encoding="utf-8") as file:
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
            f"{path}: reading it needs lmdb: pip install lmdb, or convert it to {path.name}.jsonl"
        ) from error
    try:
        with lmdb.open(str(path), readonly=True, lock=False, subdir=path.is_dir()) as db, db.begin() as view:
            index = 0
            while (value := view.get(str(index).encode())) is not None:
                yield literal_record(value.decode("utf-8"), where=f"{path}, key {index}")
                index += 1
    except lmdb.Error as error:
        raise DataError(f"{path}: cannot be read as LMDB: {error}") from error


def tar_records(path: Path) -> Iterator[Any]:
    """Records of one shard, in its order."""
    try:
        with tarfile.open(path) as shard:
            for member in shard:
                if member.isfile() and member.name.endswith(".json"):
                    yield json.loads(shard.extractfile(member).read())
    except (tarfile.TarError, json.JSONDecodeError, OSError) as error:
        raise DataError(f"{path}: cannot be read as a shard of records: {error}") from error
