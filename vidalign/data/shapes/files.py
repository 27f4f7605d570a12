"""The drawn clips as mp4 files: written once, in parallel, and found again by the key of what is in them."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidalign.common.io import content_key
from vidalign.common.rng import draw_seed
from vidalign.data.shapes import one_moment
from vidalign.data.shapes.draw import NOISE, RGB, draw
from vidalign.data.shapes.world import FPS, KINDS, NUM_FRAMES, SCHEDULE, SIZE_PX, Clip, make_clip
from vidalign.media.video_writer import write_mp4

if TYPE_CHECKING:
    import numpy as np

_log = logging.getLogger(__name__)
# Raised when the same seed draws something else.
DRAWING = 1
ALL_KINDS = (*KINDS, one_moment.KIND)


def folder_name(seed: int, blind: str | None = None, kinds: Sequence[str] | None = None) -> str:
    """Name of the folder for the videos of one seed; it changes with everything that changes the pictures."""
    more = one_moment.DRAWN_BY if one_moment.KIND in (kinds or ()) else ()
    key = content_key(DRAWING, SIZE_PX, NUM_FRAMES, FPS, NOISE, RGB, seed, blind, *more)
    return "-".join([f"seed{seed}", *([blind] if blind else []), *(kinds or []), key])


def make_clips(seed: int, split: str, count: int, kinds: Sequence[str] | None = None) -> list[Clip]:
    """The first `count` clips of a split. Splits and seeds share no random draw. `kinds` take turns."""
    turns = kinds or SCHEDULE
    return [_clip(seed, split, index, turns[index % len(turns)]) for index in range(count)]


def draw_missing(
    clips: Iterable[Clip],
    folder: Path,
    *,
    blind: str | None = None,
    kept: Sequence[int] | None = None,
    workers: int = 2,
    progress: bool = True,
) -> int:
    """Write the clips that are not in `folder` yet as `<clip_id>.mp4`; returns how many were written.

    kept: the frames that are written, spread evenly (at a rate that keeps the length); null: all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    there = {path.name for path in folder.glob("*.mp4")}
    todo = [clip for clip in clips if f"{clip.clip_id}.mp4" not in there]
    if not todo:
        return 0
    job = partial(_write, folder=folder, blind=blind, kept=kept)
    if blind == "blank" and len({len(clip.frames) for clip in todo}) == 1:
        # All of them show the same: one is encoded, the others are copies.
        job(todo[0])
        job = partial(_copy, source=folder / f"{todo[0].clip_id}.mp4", folder=folder)
    done = _parallel(job, todo, workers) if workers > 1 and len(todo) > 32 else map(job, todo)
    for _ in _bar(done, len(todo), progress):
        pass
    return len(todo)


def pictures(clip: Clip, blind: str | None = None) -> np.ndarray:
    """uint8 (frames, 64, 64, 3): the clip, or what a control shows of it."""
    import numpy as np

    video = one_moment.draw_moment(clip) if clip.kind == one_moment.KIND else draw(clip)
    if blind == "blank":
        return np.zeros_like(video)
    if blind == "frame":
        one = draw_seed(0, 0, clip.clip_id, "shapes single frame") % len(video)
        return np.repeat(video[one : one + 1], len(video), axis=0)
    return video


def _clip(seed: int, split: str, index: int, kind: str) -> Clip:
    if kind == one_moment.KIND:
        return one_moment.moment_clip(seed, split, index)
    return make_clip(seed, split, index, kind=kind)


def _write(clip: Clip, *, folder: Path, blind: str | None, kept: Sequence[int] | None) -> None:
    video, fps = pictures(clip, blind), FPS
    if kept is not None:
        video, fps = video[list(kept)], round(FPS * len(kept) / NUM_FRAMES)
    write_mp4(folder / f"{clip.clip_id}.mp4", video, fps=fps)


def _copy(clip: Clip, *, source: Path, folder: Path) -> None:
    path = folder / f"{clip.clip_id}.mp4"
    if path != source:
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        shutil.copyfile(source, part)
        os.replace(part, path)


def _parallel(job: Any, clips: list[Clip], workers: int) -> Iterator[None]:
    import multiprocessing
    import sys

    # Clips are drawn while a data set is built: no thread of ours is there yet that a fork could trip over, and nothing
    # is imported again; the children touch neither torch nor a GPU.
    how = "fork" if sys.platform.startswith("linux") else "spawn"
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context(how)) as pool:
        yield from pool.map(job, clips, chunksize=16)


def _bar(items: Iterable[Any], total: int, shown: bool) -> Iterable[Any]:
    if not shown:
        return items
    from tqdm import tqdm

    return tqdm(items, total=total, unit="clip", desc="drawing")
