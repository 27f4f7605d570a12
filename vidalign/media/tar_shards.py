"""Videos inside tar shards (webdataset's layout), read where they lie: one positioned read per video.

A place inside a shard is written as a path, `<shard>.tar@<offset>+<size>/<name>`. Whoever reads a shard's headers once
(data/sets/lfvila8m.py) can then hand out such paths; any order of samples is possible, so runs stay exactly resumable.
"""

from __future__ import annotations

import os
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidalign.common.errors import DataError, MediaError

_PLACE = re.compile(r"(?P<shard>.*\.tar)@(?P<offset>\d+)\+(?P<size>\d+)/(?P<name>[^/]+)")


@dataclass(frozen=True)
class Member:
    """A file inside a shard: its name, where its bytes begin, how many there are."""

    name: str
    offset: int
    size: int

    def path(self, shard: str) -> str:
        """The path that `open_member` understands."""
        return f"{shard}@{self.offset}+{self.size}/{self.name.replace('/', '_')}"


def members(shard: Path) -> Iterator[Member]:
    """The files of a shard in its order, from its headers alone; DataError for a compressed or damaged one."""
    try:
        with tarfile.open(shard, "r:") as tar:
            for one in tar:
                if one.isfile():
                    yield Member(one.name, one.offset_data, one.size)
    except (tarfile.TarError, OSError) as error:
        raise DataError(f"{shard}: cannot be read as an uncompressed tar: {error}") from error


def is_member(path: Path | str) -> bool:
    """True for a place inside a shard."""
    return _PLACE.fullmatch(str(path)) is not None


def read_member(path: Path | str) -> bytes:
    """The bytes of a place inside a shard; MediaError when the shard is gone or shorter than that."""
    place = _PLACE.fullmatch(str(path))
    assert place is not None, path
    offset, size = int(place["offset"]), int(place["size"])
    try:
        with open(place["shard"], "rb") as file:
            file.seek(offset)
            content = file.read(size)
    except OSError as error:
        raise MediaError(f"{Path(place['shard']).name}: {error.strerror or error}") from error
    if len(content) < size:
        raise MediaError(f"{Path(place['shard']).name} is cut off: {place['name']} is not whole")
    return content


@contextmanager
def open_member(path: Path, opener: Callable[[Path], Any]) -> Iterator[Any]:
    """`opener` on a video inside a shard, for as long as the block lasts.

    The bytes go through a file of the system's memory folder where there is one: every decoder reads files.
    """
    content = read_member(path)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="vidalign-", dir=memory) as folder:
        file = Path(folder) / path.name
        file.write_bytes(content)
        with opener(file) as video:
            yield video
