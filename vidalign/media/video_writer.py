"""Writing pictures as an mp4 file (H.264, or MPEG-4 part 2 where the library has no H.264 encoder)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from vidalign.common.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

# name -> encoder options: nearly lossless, so that what was drawn is what is decoded.
_ENCODERS = {"libx264": {"crf": "16", "preset": "veryfast"}, "mpeg4": {"qmin": "1", "qmax": "3"}}


def write_mp4(path: Path, frames_THWC: np.ndarray, *, fps: int) -> None:
    """uint8 RGB (T, H, W, 3) with even H and W -> an mp4 file, put into place whole or not at all."""
    height, width = frames_THWC.shape[1:3]
    write_pictures(path, frames_THWC, fps=fps, height=height, width=width)


def write_pictures(path: Path, pictures: Iterable[np.ndarray], *, fps: float, height: int, width: int) -> None:
    """uint8 RGB (H, W, 3) one after the other -> an mp4 file of an even size, put into place whole or not at all.

    Pictures of another size are resized (bicubic).
    """
    try:
        import av
    except ImportError as error:
        raise ConfigError("writing videos needs the package av: pip install av") from error
    codec = next((name for name in _ENCODERS if name in av.codecs_available), None)
    if codec is None:
        raise ConfigError(f"this build of av has none of the encoders {', '.join(_ENCODERS)}; install another av")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with av.open(str(part), mode="w", format="mp4") as container:
            stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001), options=_ENCODERS[codec])
            stream.height, stream.width = height, width
            stream.pix_fmt = "yuv420p"
            stream.thread_count = 1
            for picture in pictures:
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                if picture.shape[:2] != (height, width):
                    frame = frame.reformat(width=width, height=height, interpolation="BICUBIC")
                for packet in stream.encode(frame):
                    container.mux(packet)
            for packet in stream.encode(None):
                container.mux(packet)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
