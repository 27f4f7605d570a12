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


def make_video(path, *, frames=30, fps=10, size=(64, 48), codec="libx264", options=None, muxer=None):
    """Write `frames` numbered pictures; returns the path. Skips the test where PyAV or the codec is absent."""
    av = pytest.importorskip("av", reason="PyAV makes the test videos")
    if codec not in av.codecs_available:
        pytest.skip(f"PyAV was built without {codec}")
    with av.open(str(path), "w", options=muxer or {}) as container:
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001), options=options or {})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for index in range(frames):
            picture_frame = av.VideoFrame.from_ndarray(picture(index, *size), format="rgb24")
            container.mux(stream.encode(picture_frame))
        container.mux(stream.encode())
    return path


def make_trimmed(path, source, seconds):
    """Cut the start of `source` off without re-encoding: the frames stay in the file, an edit list hides them."""
    av = pytest.importorskip("av")
    with av.open(str(source)) as whole, av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as cut:
        stream = whole.streams.video[0]
        copy = cut.add_stream_from_template(stream)
        start = int(seconds / stream.time_base)
        for packet in whole.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts - start, packet.dts - start, copy
                cut.mux(packet)
    return path


def make_uneven(path, stamps, *, size=(64, 48)):
    """Numbered pictures at these milliseconds: a variable frame rate."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for index, stamp in enumerate(stamps):
            frame = av.VideoFrame.from_ndarray(picture(index, *size), format="rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def make_sound(path):
    """An mp4 that holds a sound track only."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        frame.sample_rate = 16000
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def claim_duration(path, factor):
    """Multiply the duration in the movie header and in every track header and edit list of an mp4."""
    data = bytearray(path.read_bytes())
    for box, offset in ((b"mvhd", 20), (b"tkhd", 24), (b"mdhd", 20), (b"elst", 12)):
        start = data.find(box)
        while start >= 0:
            place = slice(start + offset, start + offset + 4)
            data[place] = min(int.from_bytes(data[place], "big") * factor, 2**32 - 1).to_bytes(4, "big")
            start = data.find(box, start + 1)
    path.write_bytes(data)
    return path


# Put on the path of a child process: decord never comes back from files whose name begins with "endless", and takes the
# process with it for names that begin with "crash".
HANGING_DECODER = """
import os, time
from pathlib import Path
from vidalign.media import video_backends

real = video_backends.BACKENDS["decord"]

def opened(path):
    while Path(path).name.startswith("endless"):
        time.sleep(0.05)
    if Path(path).name.startswith("crash"):
        os.abort()
    return real(path)

video_backends.BACKENDS["decord"] = opened
"""


@pytest.fixture
def hanging_decoder(tmp_path_factory, monkeypatch):
    """Child processes use HANGING_DECODER instead of plain decord."""
    folder = tmp_path_factory.mktemp("hanging")
    (folder / "sitecustomize.py").write_text(HANGING_DECODER)
    monkeypatch.setenv("PYTHONPATH", str(folder))
