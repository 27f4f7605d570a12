"""Embeddings of an evaluation: one row per text and per video, on disk beside the prediction records.

Here a video is what a sample shows (`footage`): where samples have spans, every part of a file is a video of its own.

While the evaluation runs every process writes its own rows into `.<split>.<key>.{text,video}.f32`, which stay until its
records are safe, as their part files do (runners/eval_parts.py); then there is `<split>.embeddings.npz` with `text`
(N, D), `video` (K, D) and `right` (N,): each text's video. A record's `embedding_row` is its row in `text`.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vidalign.common.errors import DataError
from vidalign.common.io import atomic_write
from vidalign.common.sample import Sample, footage


def read_embeddings(path: Path, samples: Sequence[Sample]) -> dict[str, np.ndarray]:
    """What an evaluation of these samples has left at `path`; DataError for any other file, or none."""
    try:
        with np.load(path, allow_pickle=False) as tables:
            found = {name: tables[name] for name in ("text", "video", "right")}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: the embeddings of the evaluation, written beside its records: {error}") from error
    right = EmbeddingFile(path, "", samples).right
    if not np.array_equal(found["right"], right) or len(found["text"]) != len(samples):
        raise DataError(f"{path}: {len(found['text'])} texts of other samples than these {len(samples)}")
    return found


class EmbeddingFile:
    """Rows of one split. `path` is its predictions file, `key` names model and data as in runners/eval_parts.py."""

    def __init__(self, path: Path, key: str, samples: Sequence[Sample]) -> None:
        self.path, self.key = Path(path), key
        self.text_row = {sample.uid: row for row, sample in enumerate(samples)}
        videos = [footage(sample) for sample in samples]
        rows = {video: row for row, video in enumerate(dict.fromkeys(videos))}
        self.num_videos = len(rows)
        self.right = np.array([rows[video] for video in videos])
        firsts = dict(zip(reversed(videos), (sample.uid for sample in reversed(samples)), strict=True))
        self._first_texts = set(firsts.values())

    def places_of_videos(self, uids: Sequence[str]) -> list[int]:
        """Places in a batch of the samples whose video is embedded with them: the first text of each video.

        A rule of the list of samples alone: which batch a video goes through decides its last bit, and that must be the
        same at any number of processes and after a restart.
        """
        return [place for place, uid in enumerate(uids) if uid in self._first_texts]

    def write(self, text: Mapping[str, np.ndarray], video: Mapping[str, np.ndarray]) -> None:
        """Rows of texts and of texts' videos, both by the text's uid; on disk when this returns."""
        self._write("text", {self.text_row[uid]: row for uid, row in text.items()})
        self._write("video", {int(self.right[self.text_row[uid]]): row for uid, row in video.items()})

    def read(self) -> dict[str, np.ndarray]:
        """text (N, D), video (K, D), right (N,); rows that nobody wrote are zeros."""
        found = {name: self._raw(name) for name in ("text", "video")}
        counts = {"text": len(self.text_row), "video": self.num_videos}
        tables = {
            name: np.fromfile(file, np.float32).reshape(counts[name], -1)
            if file.is_file()
            else np.zeros((counts[name], 1))
            for name, file in found.items()
        }
        return {**tables, "right": self.right}

    def close(self) -> dict[str, np.ndarray]:
        """`read`, kept as `<split>.embeddings.npz`."""
        tables = self.read()
        with atomic_write(self.path.with_suffix(".embeddings.npz"), "wb") as file:
            np.savez(file, **tables)
        return tables

    def _write(self, name: str, rows: Mapping[int, np.ndarray]) -> None:
        if not rows:
            return
        count = len(self.text_row) if name == "text" else self.num_videos
        width = len(next(iter(rows.values())))
        file = self._raw(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(file, "ab") as empty:  # several processes may come here: growing to one and the same size is harmless
            empty.truncate(count * width * 4)
        # Not through a memory map: where the disk is full, that ends the process instead of raising OSError.
        with open(file, "r+b") as table:
            for row, values in rows.items():
                table.seek(row * width * 4)
                table.write(np.ascontiguousarray(values, np.float32).tobytes())
            table.flush()
            os.fsync(table.fileno())

    def _raw(self, name: str) -> Path:
        return self.path.with_name(f".{self.path.stem}.{self.key}.{name}.f32")
