"""Writing a feature store (format: media/features.py): whole shards only, resumable, several processes at once."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidalign.common.errors import DataError
from vidalign.common.io import atomic_write, content_key, write_json
from vidalign.media.features import FORMAT, STORE_FILE, FeatureStore, Place, read_index

if TYPE_CHECKING:
    from torch import Tensor

DTYPE_BYTES = {"float16": 2, "float32": 4}


def estimate_bytes(*, seconds: float, fps: float, dim: int, dtype: str = "float16") -> int:
    """Size of the rows of so many seconds of video, known before the first one is made."""
    return round(seconds * fps) * dim * DTYPE_BYTES[dtype]


class FeatureWriter:
    """Add videos to a store. Use as a context manager: leaving it normally writes the last shard.

    A shard is closed after `shard_rows` rows, `shard_videos` videos or `shard_seconds`; what was added since then is
    lost when the process dies, everything before is kept. Several processes may write to the same folder: a shard is
    named by its content, so they never meet in one file. `info` (encoder, decoder, fps) must equal that of an existing
    store.
    """

    def __init__(
        self,
        folder: Path,
        *,
        dim: int,
        info: dict[str, Any],
        dtype: str = "float16",
        shard_rows: int = 16384,
        shard_videos: int = 256,
        shard_seconds: float = 60.0,
    ) -> None:
        self.folder, self.dim, self.dtype = folder, dim, dtype
        self.shard_rows, self.shard_videos, self.shard_seconds = shard_rows, shard_videos, shard_seconds
        self.info = {"format": FORMAT, "dim": dim, "dtype": dtype, **info}
        self._prepare()
        self._known = read_index(folder)
        self._clear()

    def __enter__(self) -> FeatureWriter:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        if kind is None:
            self.flush()

    def place(self, video_id: str) -> Place | None:
        """What the store already says about this id (rows or failure), None for nothing."""
        return self._known.get(video_id)

    def is_done(self, video_id: str, source: str | None) -> bool:
        """True when this very file (`source`: its key) has been extracted, or has failed, before."""
        place = self.place(video_id)
        return place is not None and place.source == source

    def add(
        self,
        video_id: str,
        rows: Tensor,
        *,
        source: str | None = None,
        shown: tuple[float, Sequence[int]] | None = None,
    ) -> None:
        """Add (n, dim) rows, n >= 1; DataError for a wrong width or values that are not finite.

        shown: (frames per second of the video, the number of the frame behind each row), where that is known.
        """
        if rows.ndim != 2 or rows.shape[1] != self.dim or not len(rows):
            raise DataError(f"features of {video_id!r} have shape {tuple(rows.shape)}, expected (n >= 1, {self.dim})")
        stored = rows.detach().cpu().numpy().astype(self.dtype)
        if not bool((abs(stored) < float("inf")).all()):
            raise DataError(f"features of {video_id!r} hold NaN or values too large for {self.dtype}")
        self._rows[video_id] = [self._count, len(stored)]
        self._blocks.append(stored)
        if shown is not None:
            self._shown[video_id] = [float(shown[0]), list(shown[1])]
        self._count += len(stored)
        self._note(video_id, source)

    def fail(self, video_id: str, reason: str, *, source: str | None = None) -> None:
        """Record why this video has no rows."""
        self._failed[video_id] = reason
        self._note(video_id, source)

    def flush(self) -> None:
        """Write what was added as one shard: the array first, then the JSON that names it."""
        if not self._rows and not self._failed:
            return
        import numpy as np

        blocks = self._blocks or [np.zeros((0, self.dim), self.dtype)]
        entry = {"rows": self._rows, "failed": self._failed, "sources": self._sources}
        if self._shown:
            entry["shown"] = self._shown
        name = f"shard-{content_key(self.info, entry)}"
        buffer = io.BytesIO()
        np.save(buffer, np.concatenate(blocks), allow_pickle=False)
        with atomic_write(self.folder / f"{name}.npy", "wb") as file:
            file.write(buffer.getbuffer())
        # The clock orders two extractions of a changed video; shards of one run never share an id.
        with atomic_write(self.folder / f"{name}.json") as file:
            json.dump({"order": time.time_ns(), **entry}, file, ensure_ascii=False)
        self._clear()

    def _prepare(self) -> None:
        path = self.folder / STORE_FILE
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(path, self.info)
            return
        there = FeatureStore.open(self.folder).info
        differs = [key for key in self.info.keys() | there.keys() if self.info.get(key) != there.get(key)]
        if differs:
            key = sorted(differs)[0]
            raise DataError(
                f"{self.folder}: this store was made with {key} = {there.get(key)!r}, not {self.info.get(key)!r}; "
                "give another folder or delete it"
            )

    def _note(self, video_id: str, source: str | None) -> None:
        self._sources[video_id] = source
        full = self._count >= self.shard_rows or len(self._sources) >= self.shard_videos
        if full or time.monotonic() - self._since >= self.shard_seconds:
            self.flush()

    def _clear(self) -> None:
        self._blocks: list[Any] = []
        self._rows: dict[str, list[int]] = {}
        self._failed: dict[str, str] = {}
        self._shown: dict[str, list[Any]] = {}
        self._sources: dict[str, str | None] = {}
        self._count, self._since = 0, time.monotonic()
