"""A folder with one feature file per video, as TOPA's data come: egos/features/<uid>.npy, textvid/features/<idx>.pkl.

Read like a FeatureStore (media/features.py); nothing is listed or opened before it is asked for, so that a folder of a
million files costs nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidalign.common.errors import DataError, MediaError
from vidalign.media.arrays import open_matrix

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".npy", ".pkl", ".pth", ".pt", ".safetensors")


def is_feature_folder(path: Path) -> bool:
    """Whether a folder holds feature files, one per video."""
    return path.is_dir() and _first(path) is not None


class FeatureFolder:
    """video id -> (n, D) rows of the file `<id>.npy` (.pkl, .pth, .pt, .safetensors); opened for every sample anew."""

    fps: float | None = None

    def __init__(self, path: Path) -> None:
        self.path = path
        self.info: dict[str, Any] = {}

    @cached_property
    def dim(self) -> int | None:
        """Width of a row, of one of the files."""
        name = _first(self.path)
        return None if name is None else open_matrix(self.path / name).shape[1]

    def __contains__(self, video_id: object) -> bool:
        return self._file(str(video_id)) is not None

    def __iter__(self) -> Iterator[str]:
        """Ids that have a file, in no order."""
        with os.scandir(self.path) as entries:
            for entry in entries:
                name, suffix = os.path.splitext(entry.name)
                if suffix in SUFFIXES:
                    yield name

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def failed(self, video_id: str) -> None:
        """Nothing was extracted here, so nothing has failed."""

    def rows(self, video_id: str) -> Tensor:
        """(n, D) rows as stored; MediaError when the video has no file or its file cannot be read."""
        file = self._file(video_id)
        if file is None:
            raise MediaError(f"no features for {video_id!r}: no file {video_id}{{{','.join(SUFFIXES)}}} in {self.path}")
        try:
            return open_matrix(file)
        except (DataError, OSError) as error:
            raise MediaError(str(error)) from error

    def _file(self, video_id: str) -> Path | None:
        files = (self.path / f"{video_id}{suffix}" for suffix in SUFFIXES)
        return next((file for file in files if file.is_file()), None)


def _first(folder: Path) -> str | None:
    with os.scandir(folder) as entries:
        return next((entry.name for entry in entries if os.path.splitext(entry.name)[1] in SUFFIXES), None)
