"""Small real video files for tests, made with PyAV: frame i carries its number in its brightness."""

from fractions import Fraction

import numpy as np
import pytest

STEP = 5  # grey levels per frame number, far above what compression changes


def picture(index, width, height):
    """Grey frame whose level tells its index; the left edge is white so that turning it shows."""
    frame = np.full((height, width, 3), index * STEP % 240, np.uint8)
    frame[:, : max(width // 8, 2)] = 255
    return frame


def number_of(frame):
    """The index that a decoded frame (H, W, 3) carries."""
    middle = frame[frame.shape[0] // 2, frame.shape[1] // 2]
    return round(float(middle.float().mean()) / STEP)


def make_video(path, *, frames=30, fps=10, size=(64, 48), codec="libx264", options=None):
    """Write `frames` numbered pictures; returns the path. Skips the test where PyAV or the codec is absent."""
    av = pytest.importorskip("av", reason="PyAV makes the test videos")
    if codec not in av.codecs_available:
        pytest.skip(f"PyAV was built without {codec}")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001), options=options or {})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for index in range(frames):
            picture_frame = av.VideoFrame.from_ndarray(picture(index, *size), format="rgb24")
            container.mux(stream.encode(picture_frame))
        container.mux(stream.encode())
    return path
