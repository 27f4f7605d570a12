"""The one door to video decoders: frames of a file by index, the same picture whichever decoder is chosen.

    with open_video(path, decoder="decord") as video:
        pictures = video.frames([0, 10, 20])        # uint8 (3, H, W, 3), RGB, upright

decord (default) is what the published numbers used; torchcodec (exact seeking) and PyAV are for files that decord
cannot open or indexes wrongly. On files with a constant rate and no edit list all three agree to the last bit, rotated
and 29.97 fps ones included. They differ on: edit lists (decord counts the hidden frames too) and open GOPs (decord is
off by one or two frames); AV1, GIF and MPEG-TS decord cannot read.

Readers are opened late, use one thread, belong to one process and are closed per item: a decord reader that lives
through a fork deadlocks. decord can also hang on containers it half understands (MPEG-TS), so a file whose first bytes
are not those of a usual container is first opened in a child process with a time limit (media/probe.py).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module, metadata
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidalign.common.errors import ConfigError, MediaError, unknown
from vidalign.media.containers import SAFE_CONTAINERS, container_kind

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

PACKAGES = {"decord": "decord", "torchcodec": "torchcodec", "pyav": "av"}
REMEDIES = {
    "decord": "pip install decord (Linux x86-64)",
    "torchcodec": "pip install torchcodec, and FFmpeg's shared libraries from the system (apt install ffmpeg)",
    "pyav": "pip install av",
}


class _DecoderError(Exception):
    """A decoder's own complaint, whatever class it raises."""


class VideoReader:
    """Frames of one open file. A context manager; not shared between threads or processes.

    num_frames, fps (average rate), duration_seconds; width and height in pixels of the upright picture.
    """

    def __init__(self, path: Path, backend: Callable[[str], Any], name: str) -> None:
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
        except _DecoderError:
            return self._decode_one_by_one(indices)

    def _decode_one_by_one(self, indices: list[int]) -> np.ndarray:
        """After an error: each frame with a fresh reader.

        Decoders read ahead, so a broken frame also fails good ones before it, and not always the same ones; the
        `reason` of a record must be the same in every run.
        """
        import numpy as np

        pictures = []
        for index in indices:
            self._open.close()
            self._open = self._backend(str(self.path))
            try:
                pictures.append(self._open.read([index])[0])
            except _DecoderError as error:
                raise MediaError(f"frame {index} of {self.num_frames} cannot be decoded ({self.decoder})") from error
        return np.stack(pictures)

    @lru_cache(maxsize=1)  # noqa: B019 -- readers are short-lived and one per item
    def _size(self) -> tuple[int, int]:
        return self.decode([0]).shape[1:3]


@contextmanager
def _complaints(*kinds: type[Exception]) -> Iterator[None]:
    try:
        yield
    except kinds as error:
        raise _DecoderError(str(error)) from error


class _Decord:
    def __init__(self, path: str) -> None:
        import decord

        decord.logging.set_level(decord.logging.QUIET)
        self._errors = (decord.DECORDError, RuntimeError)
        with _complaints(*self._errors):
            self._reader = decord.VideoReader(path, num_threads=1)
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
            facts = self._reader.metadata
            # The header's rate, as the others use: the scanned one of an mkv is 30.001 where its header says 30, and
            # rules that pick frames by time would then pick others.
            self.num_frames, self.fps = len(self._reader), float(facts.average_fps_from_header or facts.average_fps)

    def read(self, indices: list[int]) -> np.ndarray:
        with _complaints(RuntimeError):
            return self._reader.get_frames_at(indices=indices).data.numpy()

    def close(self) -> None:
        self._reader = None


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
            raise _DecoderError("the stream ends early")
        return found


def _upright(frame: Any) -> np.ndarray:
    """RGB picture of a PyAV frame, turned by the file's rotation mark as decord and torchcodec do."""
    import numpy as np

    picture = frame.to_ndarray(format="rgb24")
    quarter_turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(picture, quarter_turns))


BACKENDS: dict[str, Callable[[str], Any]] = {"decord": _Decord, "torchcodec": _TorchCodec, "pyav": _PyAV}


def open_video(path: Path | str, *, decoder: str = "decord") -> VideoReader:
    """Open a video file; MediaError with a plain reason when that is not possible.

    Reasons: missing, a folder, empty, not a video, no video stream, damaged or of a codec the decoder does not know.
    ConfigError when the decoder does not exist or is not installed, because then no file could be opened.
    """
    path = Path(path)
    require_decoder(decoder)
    kind = _checked_kind(path)
    if decoder == "decord" and kind not in SAFE_CONTAINERS:
        from vidalign.media.probe import probe_video

        probe_video(path, decoder=decoder)
    return open_unchecked(path, decoder)


def open_unchecked(path: Path, decoder: str) -> VideoReader:
    """`open_video` in this process whatever the container: decord may hang."""
    try:
        return VideoReader(path, BACKENDS[decoder], decoder)
    except _DecoderError as error:
        raise MediaError(_why_not(path, decoder)) from error


def require_decoder(decoder: str) -> None:
    """ConfigError with the remedy when `decoder` does not exist or cannot be imported."""
    if decoder not in BACKENDS:
        raise ConfigError(unknown("decoder", decoder, BACKENDS))
    why = _import_problem(decoder)
    if why:
        raise ConfigError(f"decoder {decoder!r} cannot be imported: {why}. Remedy: {REMEDIES[decoder]}")


@lru_cache
def _import_problem(decoder: str) -> str | None:
    try:
        import_module("torchcodec.decoders" if decoder == "torchcodec" else PACKAGES[decoder])
    except (ImportError, OSError, RuntimeError) as error:  # torchcodec raises RuntimeError without FFmpeg's libraries
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    return None


def decoder_version(decoder: str) -> str:
    """ "decord 0.6.0", for the record of a run."""
    require_decoder(decoder)
    return f"{decoder} {metadata.version(PACKAGES[decoder])}"


def _checked_kind(path: Path) -> str:
    if not path.exists():
        raise MediaError(f"{path.name}: no such file")
    if path.is_dir():
        raise MediaError(f"{path.name} is a folder, not a video file")
    if not path.stat().st_size:
        raise MediaError(f"{path.name} is empty (0 bytes)")
    kind = container_kind(path)
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
        return f"{decoder} cannot open {path.name} ({kind}, codec {names[0]}); try another decoder"
    return f"{decoder} cannot open {path.name}: damaged, or a codec it does not know ({kind})"
