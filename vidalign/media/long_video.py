"""Frames of long videos and of runs of clips, as LF-VILA takes them (arXiv 2210.06031; specification lf_vila, 4).

All rules are float64 `numpy.linspace`, then truncated: that decides where a point falls on a whole number.
[frame_sampling]
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from vidalign.common.rng import draw_seed


def spread(first: int, last: int, m: int) -> list[int]:
    """m frames from `first` to `last`, both included."""
    return np.linspace(first, last, m).astype(np.int64).tolist()


def linspace_ends(
    n: int, m: int, *, fps: float = 0.0, span: tuple[float, float] | None = None, draw: random.Random | None = None
) -> list[int]:
    """m frames of the whole video (a span is a label here, not a cut); with `draw` both ends move by up to one step.

    Changed: the official ends come from the process's own generator; here they follow from seed, epoch and uid.
    """
    if draw is None:
        return spread(0, n - 1, m)
    interval = int(n / max(m - 1, 1))
    start, end = draw.randint(0, interval), draw.randint(n - 1 - interval, n - 1)
    return spread(min(start, n - 1), max(end, 0), m)


def clip_frames(n: int, m: int) -> list[int]:
    """m frames of one clip of a run: the end is left out, since the next clip begins there."""
    return np.linspace(0, n, m + 1)[:m].astype(np.int64).tolist()


def joint_frames(lengths: Sequence[int], m: int) -> list[list[int]]:
    """m frames spread over clips as if they were one video; the frames of each clip, counted from its own start."""
    ends = list(accumulate(lengths))
    starts = [0, *ends[:-1]]
    points = spread(0, ends[-1] - 1, m)
    return [
        [point - start for point in points if start <= point < end] for start, end in zip(starts, ends, strict=True)
    ]


def clip_window(count: int, wanted: int, *, seed: int, epoch: int, uid: str, train: bool) -> int:
    """The first of `wanted` neighbouring clips among `count`; 0 at evaluation.

    Kept: the last window that would fit is never drawn.
    """
    if not train or count <= wanted:
        return 0
    return random.Random(draw_seed(seed, epoch, uid, "clips")).randrange(count - wanted)
