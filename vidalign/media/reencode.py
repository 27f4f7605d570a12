"""Videos written again at a low frame rate, whole or cut to a span, as long-video pre-training decodes them.

Pictures are decoded and encoded a few at a time; sound is left out.
"""

from __future__ import annotations

import logging
import multiprocessing
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vidalign.common.errors import MediaError
from vidalign.media.video import open_video
from vidalign.media.video_writer import write_pictures

if TYPE_CHECKING:
    import numpy as np

_log = logging.getLogger(__name__)
CHUNK_FRAMES = 32


@dataclass(frozen=True)
class Job:
    """One video to write. span: (start, end) in seconds of the source, None for all of it."""

    source: Path
    target: Path
    span: tuple[float, float] | None = None


@dataclass(frozen=True)
class Outcome:
    """written: made now; found: already there. failed: (target, reason) of each job that could not be done."""

    written: int
    found: int
    failed: tuple[tuple[Path, str], ...]


def frames_at_rate(num_frames: int, source_fps: float, fps: float, span: tuple[float, float] | None) -> list[int]:
    """The frame that is shown at each of the times start, start + 1 / fps, ... before the end; never none."""
    length = num_frames / source_fps
    start, end = (0.0, length) if span is None else (max(span[0], 0.0), min(span[1], length))
    if start >= length:
        return []
    count = max(round((end - start) * fps), 1)
    return [min(int((start + number / fps) * source_fps + 1e-6), num_frames - 1) for number in range(count)]


def reencode(job: Job, *, fps: float, short_side_px: int | None = None, decoder: str = "pyav") -> None:
    """Write one video whole or not at all; MediaError when the source cannot be used."""
    with open_video(job.source, decoder=decoder) as video:
        indices = frames_at_rate(video.num_frames, video.fps, fps, job.span)
        if not indices:
            raise MediaError(f"{job.source.name} ends after {video.duration_seconds:.1f} s, before the clip begins")
        size = _even_size(video.height, video.width, short_side_px)
        job.target.parent.mkdir(parents=True, exist_ok=True)
        write_pictures(job.target, _pictures(video, indices), fps=fps, height=size[0], width=size[1])


def reencode_all(
    jobs: Sequence[Job], *, fps: float, short_side_px: int | None = None, decoder: str = "pyav", workers: int = 2
) -> Outcome:
    """All jobs whose target is not there yet, in parallel; a video that cannot be used does not stop the others."""
    todo = [job for job in jobs if not job.target.is_file()]
    work = partial(_tried, fps=fps, short_side_px=short_side_px, decoder=decoder)
    failed = [
        (job.target, reason) for job, reason in _bar(_spread(work, todo, workers), len(todo)) if reason is not None
    ]
    return Outcome(len(todo) - len(failed), len(jobs) - len(todo), tuple(sorted(failed)))


def _tried(job: Job, **settings: object) -> tuple[Job, str | None]:
    try:
        reencode(job, **settings)
    except MediaError as error:
        return job, str(error)
    return job, None


def _spread(work: partial, jobs: list[Job], workers: int) -> Iterator[tuple[Job, str | None]]:
    if workers == 1:
        yield from map(work, jobs)
        return
    # Decoders are opened in the children only; "fork" imports nothing again.
    how = "fork" if sys.platform.startswith("linux") else "spawn"
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context(how)) as pool:
        for done in as_completed([pool.submit(work, job) for job in jobs]):
            yield done.result()


def _bar(items: Iterable[tuple[Job, str | None]], total: int) -> Iterable[tuple[Job, str | None]]:
    from tqdm import tqdm

    return tqdm(items, total=total, unit="video", desc="re-encoding", disable=not total)


def _pictures(video: object, indices: list[int]) -> Iterator[np.ndarray]:
    for start in range(0, len(indices), CHUNK_FRAMES):
        yield from video.decode(indices[start : start + CHUNK_FRAMES])


def _even_size(height: int, width: int, short_side_px: int | None) -> tuple[int, int]:
    scale = min(short_side_px / min(height, width), 1.0) if short_side_px else 1.0
    return tuple(max(round(side * scale / 2) * 2, 2) for side in (height, width))
