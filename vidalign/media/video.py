"""The one door to video decoders: frames of a file by index, the same picture whichever decoder is chosen.

    with open_video(path, decoder="decord") as video:
        pictures = video.frames([0, 10, 20])        # uint8 (3, H, W, 3), RGB, upright

decord (default) is what the published numbers used; torchcodec (exact seeking) and PyAV are for files that decord
cannot open or indexes wrongly. On ordinary files all three agree to the last bit: rotated, 29.97 fps, variable rate,
out of order, fragmented, VP9. They differ on edit lists (clips cut without re-encoding: decord counts the hidden
frames too and is shifted), some open GOPs and MPEG-4 with B-frames in AVI (decord is off by one or two frames). decord
reads no AV1, GIF or MPEG-TS, torchcodec fails at the end of some MPEG streams. PyAV was right on every file tried.

Readers are opened late, use one thread, belong to one process and are closed per item: a decord reader that lives
through a fork deadlocks. decord can also hang on containers it half understands (MPEG-TS), so a file whose first bytes
are not those of a usual container is first opened in a child process with a time limit (media/probe.py).
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING

from vidalign.common.errors import ConfigError, MediaError, unknown
from vidalign.media.containers import SAFE_CONTAINERS, container_kind
from vidalign.media.video_backends import BACKENDS, Backend, DecoderError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

# decord's read-ahead failed the last good frame of a broken file in 1 of 15 tries, more often beside busy threads.
ATTEMPTS = 10
COMMON_CODECS = ("h264", "hevc", "mpeg4", "vp8", "vp9")  # every decoder knows them
PACKAGES = {"decord": "decord", "torchcodec": "torchcodec", "pyav": "av"}
REMEDIES = {
    "decord": "pip install decord (Linux x86-64)",
    "torchcodec": "pip install torchcodec, and FFmpeg's shared libraries from the system (apt install ffmpeg)",
    "pyav": "pip install av",
}


class VideoReader:
    """Frames of one open file. A context manager; not shared between threads or processes.

    num_frames, fps (average rate), duration_seconds; width and height in pixels of the upright picture.
    """

    def __init__(self, path: Path, backend: Callable[[str], Backend], name: str) -> None:
        self.path, self.decoder, self._backend = path, name, backend
        self._open = backend(str(path))
        self.num_frames: int = self._open.num_frames
        self.fps: float = self._open.fps
        if self.num_frames < 1 or not self.fps > 0:
            raise MediaError(f"{path.name} has no frames")

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the decoder; the reader is not usable afterwards."""
        if self._open is not None:
            self._open.close()
        self._open = None

    @property
    def duration_seconds(self) -> float:
        """num_frames / fps."""
        return self.num_frames / self.fps

    @property
    def width(self) -> int:
        """Pixels, after rotation."""
        return self._size()[1]

    @property
    def height(self) -> int:
        """Pixels, after rotation."""
        return self._size()[0]

    def frames(self, indices: Sequence[int]) -> Tensor:
        """uint8 (T, H, W, 3) in the order of `indices`, repeats allowed.

        An index outside 0..num_frames-1 is an IndexError (decoders would count -1 from the end); a frame that cannot
        be decoded is a MediaError that names the first such index.
        """
        import torch

        return torch.from_numpy(self.decode(list(indices)))

    def decode(self, indices: list[int]) -> np.ndarray:
        """`frames` without torch."""
        for index in indices:
            if not 0 <= index < self.num_frames:
                raise IndexError(f"{self.path.name}: frame {index} of {self.num_frames} does not exist")
        try:
            return self._open.read(indices)
        except DecoderError:
            return self._decode_one_by_one(indices)

    def _decode_one_by_one(self, indices: list[int]) -> np.ndarray:
        """After an error: each frame with a fresh reader.

        Decoders read ahead, so a broken frame also fails good ones before it, and not always the same ones; the
        `reason` of a record must be the same in every run.
        """
        import numpy as np

        pictures = []
        for index in indices:
            try:
                pictures.append(self._decode_afresh(index))
            except DecoderError as error:
                raise MediaError(f"frame {index} of {self.num_frames} cannot be decoded ({self.decoder})") from error
        return np.stack(pictures)

    def _decode_afresh(self, index: int, attempts: int = ATTEMPTS) -> np.ndarray:
        self._open.close()
        self._open = self._backend(str(self.path))
        try:
            return self._open.read([index])[0]
        except DecoderError as error:
            if not error.by_chance or attempts == 1:
                raise
        return self._decode_afresh(index, attempts - 1)

    @lru_cache(maxsize=1)  # noqa: B019 -- readers are short-lived and one per item
    def _size(self) -> tuple[int, int]:
        return self.decode([0]).shape[1:3]


def open_video(
    path: Path | str, *, decoder: str = "decord", in_child: bool | None = None, square_px: int | None = None
) -> VideoReader:
    """Open a video file; MediaError with a plain reason when that is not possible.

    Reasons: missing, a folder, unreadable, empty, not a video, no video stream, damaged or of a codec the decoder does
    not know. `in_child`: try it first in a child process with a time limit; None: where its container may hang decord.
    `square_px`: pictures come as squares of so many pixels; only decord can resize itself, the others ignore it.
    ConfigError when the decoder does not exist or is not installed, because then no file could be opened.
    """
    path = Path(path)
    require_decoder(decoder)
    kind = checked_kind(path)
    if in_child is None:
        in_child = decoder == "decord" and kind not in SAFE_CONTAINERS
    if in_child:
        from vidalign.media.probe import probe_video

        probe_video(path, decoder=decoder)
    return open_unchecked(path, decoder, square_px=square_px)


def open_unchecked(path: Path, decoder: str, *, square_px: int | None = None) -> VideoReader:
    """`open_video` in this process whatever the container: decord may hang."""
    backend = BACKENDS[decoder]
    if square_px is not None and decoder == "decord":
        backend = partial(backend, square_px=square_px)
    try:
        return VideoReader(path, backend, decoder)
    except DecoderError as error:
        raise MediaError(_why_not(path, decoder)) from error


def require_decoder(decoder: str) -> None:
    """ConfigError with the remedy when `decoder` does not exist or cannot be imported."""
    if decoder not in BACKENDS:
        raise ConfigError(unknown("decoder", decoder, BACKENDS))
    why = _import_problem(decoder)
    if why:
        raise ConfigError(f"decoder {decoder!r} cannot be imported: {why}. Remedy: {REMEDIES[decoder]}")


def installed(decoder: str) -> bool:
    """True when the decoder can be imported (and is, from now on)."""
    return _import_problem(decoder) is None


NO_FFMPEG = "the shared libraries of FFmpeg (libavutil and others) were not found"


@lru_cache
def _import_problem(decoder: str) -> str | None:
    try:
        import_module("torchcodec.decoders" if decoder == "torchcodec" else PACKAGES[decoder])
    except (ImportError, OSError, RuntimeError) as error:  # torchcodec raises RuntimeError without FFmpeg's libraries
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    # From 0.17 on torchcodec is imported without them, and every video would look broken.
    if decoder == "torchcodec" and getattr(import_module("torchcodec"), "ffmpeg_major_version", "unsaid") is None:
        return NO_FFMPEG
    return None


def decoder_version(decoder: str) -> str:
    """ "decord 0.6.0", for the record of a run."""
    require_decoder(decoder)
    return f"{decoder} {metadata.version(PACKAGES[decoder])}"


def checked_kind(path: Path) -> str:
    """The container by the first bytes; MediaError for what no decoder should see."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise MediaError(f"{path.name} is a folder, not a video file")
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for its other end
            raise MediaError(f"{path.name} is a pipe or device, not a video file")
        if not status.st_size:
            raise MediaError(f"{path.name} is empty (0 bytes)")
        kind = container_kind(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MediaError(f"{path.name}: no such file") from error
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        why = getattr(error, "strerror", None) or error
        raise MediaError(f"{path.name} cannot be read: {why}") from error
    if kind == "text":
        raise MediaError(f"{path.name} is a text file, not a video")
    return kind


def _why_not(path: Path, decoder: str) -> str:
    kind = container_kind(path)
    if kind == "unknown":
        return f"{path.name} is not a video file (unknown container)"
    if _import_problem("pyav") is None:
        import av

        try:
            with av.open(str(path)) as container:
                names = [stream.codec.canonical_name for stream in container.streams.video]
        except av.error.FFmpegError:
            return f"{path.name} is damaged: its {kind} container cannot be read"
        if not names:
            return f"{path.name} has no video stream"
        if names[0] in COMMON_CODECS:
            return f"{path.name} is damaged: {decoder} cannot open it ({kind}, codec {names[0]})"
        return f"{decoder} cannot open {path.name} ({kind}, codec {names[0]}); try another decoder"
    return f"{decoder} cannot open {path.name}: damaged, or a codec it does not know ({kind})"
