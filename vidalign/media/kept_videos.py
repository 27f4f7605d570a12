"""Whole decoded videos in memory, for small videos that are seen in many epochs.

Legend: T frames, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from vidalign.common.errors import MediaError
from vidalign.media.video import VideoReader

if TYPE_CHECKING:
    from torch import Tensor


class KeptVideo:
    """A decoded video, used like a VideoReader. frames_THWC: uint8 RGB."""

    def __init__(self, frames_THWC: Tensor, fps: float) -> None:
        self._frames_THWC, self.fps, self.num_frames = frames_THWC, fps, len(frames_THWC)

    def __enter__(self) -> KeptVideo:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is held open."""

    def frames(self, indices: Sequence[int]) -> Tensor:
        """uint8 (T, H, W, 3) in the order of `indices`, a copy."""
        return self._frames_THWC[list(indices)]


class KeptVideos:
    """`open(path, opener)` as `opener(path)`, but a video that fits into what is left of `megabytes` is decoded once.

    Nothing is ever thrown out: what does not fit is opened each time. One that cannot be decoded whole is opened each
    time too, since the frames that a model wants may be sound.
    """

    def __init__(self, megabytes: int) -> None:
        self._left_bytes = megabytes * 2**20
        self._videos: dict[Path, KeptVideo] = {}

    def open(
        self, path: Path, opener: Callable[[Path], VideoReader]
    ) -> AbstractContextManager[VideoReader] | AbstractContextManager[KeptVideo]:
        """A reader of the video; MediaError as from `opener`."""
        if path in self._videos:
            return self._videos[path]
        video = opener(path)
        if self._left_bytes <= 0 or not isinstance(video, VideoReader):  # a folder of pictures
            return video
        try:
            size_bytes = video.num_frames * video.height * video.width * 3
            if size_bytes > self._left_bytes:
                return video
            with video:
                kept = KeptVideo(video.frames(range(video.num_frames)), video.fps)
        except MediaError:
            return opener(path)
        self._left_bytes -= size_bytes
        self._videos[path] = kept
        return kept
