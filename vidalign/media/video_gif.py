"""Animated GIF -> mp4, since decord refuses GIF files (TGIF-QA)."""

from __future__ import annotations

from pathlib import Path

from vidalign.common.errors import ConfigError, DataError, MediaError
from vidalign.common.paths import missing
from vidalign.media.video_writer import write_mp4


def convert_gif(path: Path, output: Path) -> int:
    """Write the frames of a GIF as an mp4 at its mean rate; returns their number.

    Every frame is kept once, however long it is shown. A last row or column of an odd size is repeated, since the codec
    needs even sizes. MediaError for a file without frames; ConfigError without the package av.
    """
    import numpy as np

    try:
        import av
    except ImportError as error:
        raise ConfigError("converting GIF files needs the package av: pip install av") from error
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            rate = float(stream.average_rate or 10)
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    except (av.error.FFmpegError, IndexError, OSError) as error:
        raise MediaError(f"{path.name}: not a readable GIF: {error}") from error
    if not frames:
        raise MediaError(f"{path.name}: a GIF without frames")
    pictures = np.stack(frames)
    height, width = pictures.shape[1:3]
    pictures = np.pad(pictures, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    write_mp4(output, pictures, fps=max(round(rate), 1))
    return len(frames)


def convert_folder(folder: Path) -> tuple[int, dict[str, str]]:
    """Every `*.gif` without an mp4 beside it; (number made, name -> reason for those that failed).

    DataError for a folder that is not there or holds no GIF.
    """
    if text := missing(folder, folder=True):
        raise DataError(f"{text} Give the folder of the GIF files.")
    paths = sorted(folder.glob("*.gif"))
    if not paths:
        raise DataError(f"{folder}: no *.gif in it; give the folder of the GIF files")
    made, failed = 0, {}
    for path in paths:
        output = path.with_suffix(".mp4")
        if output.exists():
            continue
        try:
            convert_gif(path, output)
            made += 1
        except MediaError as error:
            failed[path.name] = str(error)
    return made, failed
