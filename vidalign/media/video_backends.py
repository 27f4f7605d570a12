"""The three decoders behind media/video.py, each with the same four names (Backend). Nobody else uses this file."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np


class DecoderError(Exception):
    """A decoder's own complaint, whatever class it raises.

    `by_chance`: it may be about a frame further on, which the decoder reached while it read ahead; asking again for the
    same frame may succeed.
    """

    def __init__(self, message: str, *, by_chance: bool = False) -> None:
        super().__init__(message)
        self.by_chance = by_chance


class Backend(Protocol):
    """An open file. `read` gives uint8 (T, H, W, 3) upright RGB or raises DecoderError."""

    num_frames: int
    fps: float

    def read(self, indices: list[int]) -> np.ndarray:
        """The pictures of these indices, all in 0..num_frames-1."""
        ...

    def close(self) -> None:
        """Free the file."""
        ...


@contextmanager
def _complaints(*kinds: type[Exception]) -> Iterator[None]:
    try:
        yield
    except kinds as error:
        # decord decodes in a thread of its own, which fails as soon as it meets a broken packet.
        raise DecoderError(str(error), by_chance="threaded_decoder" in str(error)) from error


class _Decord:
    def __init__(self, path: str, *, square_px: int | None = None) -> None:
        import decord

        decord.logging.set_level(decord.logging.QUIET)
        self._errors = (decord.DECORDError, RuntimeError)
        with _complaints(*self._errors):
            side = square_px or -1
            self._reader = decord.VideoReader(path, num_threads=1, width=side, height=side)
            self.num_frames, self.fps = len(self._reader), float(self._reader.get_avg_fps())

    def read(self, indices: list[int]) -> np.ndarray:
        # decord's torch bridge is thread-local; the native array is the same in every thread.
        with _complaints(*self._errors):
            return self._reader.get_batch(indices).asnumpy()

    def close(self) -> None:
        self._reader = None


class _TorchCodec:
    def __init__(self, path: str) -> None:
        from torchcodec.decoders import VideoDecoder

        with _complaints(RuntimeError, ValueError):
            self._reader = VideoDecoder(path, seek_mode="exact", num_ffmpeg_threads=1, dimension_order="NHWC")
            self.num_frames, self.fps = len(self._reader), _torchcodec_fps(self._reader.metadata)

    def read(self, indices: list[int]) -> np.ndarray:
        with _complaints(RuntimeError):
            return self._reader.get_frames_at(indices=indices).data.numpy()

    def close(self) -> None:
        self._reader = None


def _torchcodec_fps(facts: Any) -> float:
    """The header's rate where the scanned one confirms it within 1 %, as the other decoders tell it.

    The scan of an mkv at 30 fps gives 30.001, and rules that pick frames by time would then pick others; the header
    of a file with a variable rate names its highest rate.
    """
    scanned, header = float(facts.average_fps), facts.average_fps_from_header
    return float(header) if header and abs(header / scanned - 1) < 0.01 else scanned


class _PyAV:
    """Index i is the i-th time stamp in showing order, taken from the packets of the whole file (not decoded).

    Decoding goes on from where it stands and seeks only when a key frame lies between there and the next target.
    """

    def __init__(self, path: str) -> None:
        import av

        self._path, self._errors = path, (av.error.FFmpegError, IndexError)
        with _complaints(*self._errors):
            self._connect()
            packets = [p for p in self._container.demux(self._stream) if p.size and not p.is_discard]
        self._stamps = sorted(packet.pts for packet in packets if packet.pts is not None)
        self._keys = sorted(p.pts for p in packets if p.is_keyframe and p.pts is not None)
        # Without a distinct time stamp per packet (raw streams, old AVI) frames are counted from the start.
        self._by_stamp = bool(self._keys) and len(set(self._stamps)) == len(packets)
        self.num_frames, self.fps = len(packets), float(self._stream.average_rate or self._stream.guessed_rate or 0)

    def _connect(self) -> None:
        import av

        self._container = av.open(self._path)
        self._stream = self._container.streams.video[0]
        self._stream.codec_context.thread_count = 1

    def read(self, indices: list[int]) -> np.ndarray:
        import numpy as np

        wanted = sorted(set(indices))
        with _complaints(*self._errors):
            found = self._read_by_stamp(wanted) if self._by_stamp else {}
            if len(found) < len(wanted):
                found = self._read_by_count(wanted)
        return np.stack([found[index] for index in indices])

    def close(self) -> None:
        self._container.close()

    def _read_by_stamp(self, wanted: list[int]) -> dict[int, np.ndarray]:
        found: dict[int, np.ndarray] = {}
        frames, position = None, None
        for index in wanted:
            stamp = self._stamps[index]
            key = self._keys[max(bisect_right(self._keys, stamp) - 1, 0)]
            if frames is None or key > position:
                self._container.seek(key, stream=self._stream, backward=True)
                frames = self._container.decode(self._stream)
            frame = next((f for f in frames if f.pts is not None and f.pts >= stamp), None)
            if frame is None or frame.pts != stamp:  # MPEG streams: the seek landed behind the target
                return found
            found[index], position = _upright(frame), frame.pts
        return found

    def _read_by_count(self, wanted: list[int]) -> dict[int, np.ndarray]:
        self._container.close()
        self._connect()
        pictures = enumerate(self._container.decode(self._stream))
        found = {index: _upright(frame) for index, frame in islice(pictures, wanted[-1] + 1) if index in wanted}
        if len(found) < len(wanted):
            raise DecoderError("the stream ends early")
        return found


def _upright(frame: Any) -> np.ndarray:
    """RGB picture of a PyAV frame, turned by the file's rotation mark as decord and torchcodec do."""
    import numpy as np

    picture = frame.to_ndarray(format="rgb24")
    quarter_turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(picture, quarter_turns))


BACKENDS: dict[str, Callable[[str], Backend]] = {"decord": _Decord, "torchcodec": _TorchCodec, "pyav": _PyAV}
