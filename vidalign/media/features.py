"""Feature store: rows of a frozen encoder per video, memory-mapped, so that all processes share one page cache.

Read are the official `clipvitl14.pth` dictionaries {video id: (n, D) half} of Flipped-VQA, BoViLA and TOPA (or a .pkl
of such a dictionary), folders with one file per video (media/feature_folder.py), and our own folders of shards (written
by media/feature_writer.py):

    store.json               what every row has in common: dim, dtype, fps, encoder, decoder
    shard-<key>.npy          (rows, dim) plain NumPy file
    shard-<key>.json         {"order": int, "rows": {id: [offset, rows]}, "failed": {id: reason}, "sources": {id: key},
                         "shown": {id: [frames per second, [frame of each row]]}, where the rows are chosen frames}

A shard's JSON is written after its array, so a shard that is named is whole. Where an id occurs twice the shard with
the higher order counts (the video was extracted again).
"""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidalign.common.errors import DataError, MediaError, nearest
from vidalign.media.arrays import load_pickle
from vidalign.media.feature_folder import FeatureFolder, is_feature_folder

if TYPE_CHECKING:
    from torch import Tensor

STORE_FILE = "store.json"
FORMAT = 1
# README and loader of the official code disagree on How2QA's file name (spec bovila, section 7): both are accepted.
TWIN_NAMES = {"clipvitl14.pth": "clipvitl14_split.pth", "clipvitl14_split.pth": "clipvitl14.pth"}
# What torch's restricted unpickler raises: the first two by intention, the others when the bytes are no pickle at all.
UNREADABLE = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    OSError,  # a cut-off zip archive: the end is looked for before the file's begin
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
)


@dataclass(frozen=True)
class Place:
    """Where the rows of one video lie; `reason` instead when its extraction failed. `source`: key of the video file.

    shown: frames per second, and the frame behind each row; None where the store does not say.
    """

    shard: str
    offset: int
    rows: int
    order: int
    source: str | None = None
    reason: str | None = None
    shown: tuple[float, tuple[int, ...]] | None = None


class FeatureStore:
    """video id -> (n, D) rows. Opens lazily in every process; pickling carries only the path.

    `dim` is the width of a row, `fps` the rows per second (None: the file does not say), `info` the writer's account
    of encoder and decoder ({} for official files).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_folder = path.is_dir()
        self._tensors: dict[str, Tensor] | None = None
        self._places: dict[str, Place] | None = None
        self._arrays: dict[str, Tensor] = {}
        self.info: dict[str, Any] = _read_json(path / STORE_FILE) if self.is_folder else {}
        if self.is_folder and self.info.get("format") != FORMAT:
            raise DataError(f"{path / STORE_FILE}: format {self.info.get('format')!r}, this program reads {FORMAT}")
        if self.is_folder and not isinstance(self.info.get("dim"), int):
            raise DataError(f"{path / STORE_FILE}: says no width (`dim`); delete the store and make it again")

    @classmethod
    def open(cls, path: Path | str) -> FeatureStore | FeatureFolder:
        """Open a dictionary file, a folder of shards or of one file per video; DataError when it is none of them or
        not safe to read."""
        path = Path(path)
        if not (path / STORE_FILE).exists() and is_feature_folder(path):
            return FeatureFolder(path)
        return cls(resolve(path))

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])

    @property
    def fps(self) -> float | None:
        """Rows per second of video, None when the file does not say (official dictionaries)."""
        return self.info.get("fps")

    @property
    def dim(self) -> int | None:
        """Width of a row, None for an empty store."""
        if self.is_folder:
            return self.info["dim"]
        first = next(iter(self._official().values()), None)
        return None if first is None else first.shape[-1]

    def __contains__(self, video_id: object) -> bool:
        if self.is_folder:
            place = self._index().get(str(video_id))
            return place is not None and place.reason is None
        return str(video_id) in self._official()

    def __iter__(self) -> Iterator[str]:
        """Ids that have rows."""
        return (key for key in (self._index() if self.is_folder else self._official()) if key in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def failed(self, video_id: str) -> str | None:
        """Why the extraction of this video failed; None when it did not, or was never tried."""
        place = self._index().get(video_id) if self.is_folder else None
        return place.reason if place else None

    def failures(self) -> dict[str, str]:
        """Every id whose extraction failed, with its reason."""
        index = self._index() if self.is_folder else {}
        return {key: place.reason for key, place in index.items() if place.reason is not None}

    def source(self, video_id: str) -> str | None:
        """Content key of the file that the rows (or the failure) of this id came from."""
        place = self._index().get(video_id) if self.is_folder else None
        return place.source if place else None

    def shown(self, video_id: str) -> tuple[float, tuple[int, ...]] | None:
        """(frames per second of the video, the frame behind each row), None where the store does not say."""
        place = self._index().get(video_id) if self.is_folder else None
        return place.shown if place else None

    def rows(self, video_id: str) -> Tensor:
        """(n, D) rows as stored, not copied; MediaError when the video has none."""
        reason = self.failed(video_id)
        if reason is not None:
            raise MediaError(reason)
        if video_id not in self:
            raise MediaError(f"no features for {video_id!r} in {self.path.name}{self._hint(video_id)}")
        if not self.is_folder:
            rows = self._official()[video_id]
            if rows.ndim != 2:
                raise MediaError(f"features of {video_id!r} have shape {tuple(rows.shape)}, not (rows, width)")
            return rows
        place = self._index()[video_id]
        array = self._array(place.shard)
        if not 0 <= place.offset <= place.offset + place.rows <= len(array):
            raise DataError(
                f"{self.path / place.shard}.npy: {len(array)} rows, but {video_id!r} lies at {place.offset} to "
                f"{place.offset + place.rows}; delete the store and make it again"
            )
        return array[place.offset : place.offset + place.rows]

    def _hint(self, video_id: str) -> str:
        if len(self) > 2000:  # comparing names with those of a large file would take long for every failure
            return ""
        near = nearest(video_id, self)
        return f" (nearest id: {near!r})" if near else ""

    def _official(self) -> dict[str, Tensor]:
        if self._tensors is None:
            self._tensors = load_official(str(self.path), self.path.stat().st_mtime_ns)
        return self._tensors

    def _index(self) -> dict[str, Place]:
        if self._places is None:
            self._places = read_index(self.path)
        return self._places

    def _array(self, shard: str) -> Tensor:
        if shard not in self._arrays:
            self._arrays[shard] = _map_array(self.path / f"{shard}.npy", self.info["dim"])
        return self._arrays[shard]


def resolve(path: Path) -> Path:
    """The feature file meant by `path` (How2QA: either official name); DataError when there is none."""
    if path.exists() and not (path.is_dir() and not (path / STORE_FILE).exists()):
        return path
    if path.is_dir():
        raise DataError(f"{path}: no {STORE_FILE} in this folder, so it is not a feature store")
    twin = path.with_name(TWIN_NAMES.get(path.name, path.name))
    if twin.exists():
        return twin
    raise DataError(
        f"{path}: no such feature file. Give the official clipvitl14.pth, or make a store with "
        "data_prep/extract_features.py, or let the run do it with the dataset's `extract:` settings"
    )


@lru_cache(maxsize=8)
def load_official(path: str, mtime_ns: int) -> dict[str, Tensor]:
    """{id: (n, D)} of an official dictionary, memory-mapped; one copy per process for all splits that read it.

    `mtime_ns` only makes a changed file a new entry. Only tensors are allowed in the pickle (`weights_only`).
    """
    import torch

    # Files of torch < 1.6 are not zip archives and cannot be mapped: they are read into memory.
    mapped = zipfile.is_zipfile(path)
    try:
        plain = not mapped and path.endswith(".pkl")
        content = load_pickle(path) if plain else torch.load(path, map_location="cpu", mmap=mapped, weights_only=True)
    except UNREADABLE as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{path}: not a feature dictionary that can be read safely (only tensors are allowed in it): {why}"
        ) from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds a {type(content).__name__}, expected a dictionary {{video id: (n, D) tensor}}")
    content = {key: torch.as_tensor(value) if hasattr(value, "ndim") else value for key, value in content.items()}
    bad = next((key for key, value in content.items() if not isinstance(value, torch.Tensor)), None)
    if bad is not None:
        raise DataError(f"{path}: the entry {bad!r} is a {type(content[bad]).__name__}, expected a tensor (n, D)")
    return {str(key): value for key, value in content.items()}


def read_index(folder: Path) -> dict[str, Place]:
    """Every id of a shard folder; a later shard (higher order) replaces what an earlier one says of the same id."""
    places: dict[str, Place] = {}
    for path in sorted(folder.glob("shard-*.json")):
        here = _places(path, _read_json(path))
        for key, place in here.items():
            if key not in places or places[key].order <= place.order:
                places[key] = place
    return places


def _places(path: Path, entry: dict[str, Any]) -> dict[str, Place]:
    """Every id of one shard."""
    try:
        order, sources = int(entry["order"]), entry.get("sources", {})
        spans = {key: (int(offset), int(rows)) for key, (offset, rows) in entry["rows"].items()}
        shown = {key: (float(fps), tuple(map(int, kept))) for key, (fps, kept) in entry.get("shown", {}).items()}
        here = {
            key: Place(path.stem, *span, order, sources.get(key), shown=shown.get(key)) for key, span in spans.items()
        }
        for key, reason in entry["failed"].items():
            here[key] = Place(path.stem, 0, 0, order, sources.get(key), str(reason))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: not the index of a shard ({error!r}); delete the store and make it again") from error
    return here


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read ({error}); delete the store and make it again") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds a {type(content).__name__}; delete the store and make it again")
    return content


def _map_array(path: Path, dim: int) -> Tensor:
    import numpy as np
    import torch

    try:
        # Copy-on-write: shared between processes as long as nobody writes, and torch does not warn about read-only.
        array = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be mapped ({error}); delete the store and make it again") from error
    if array.ndim != 2 or array.shape[1] != dim:
        raise DataError(f"{path}: shape {array.shape}, the store says width {dim}")
    return torch.from_numpy(array)
