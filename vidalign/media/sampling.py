"""Which frames or feature rows of n are shown to a model: index rules as pure functions.

Every rule takes the number of rows `n` (>= 1) and the number wanted `m` (>= 1) and returns indices in 0..n-1 in
temporal order. Rules that return fewer than m indices say so; the caller pads with zeros (`zero_rows`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from vidalign.common.errors import ConfigError, MediaError, unknown
from vidalign.media.long_video import linspace_ends

IndexRule = Callable[[int, int], list[int]]


def uniform_floor(n: int, m: int) -> list[int]:
    """n > m: (j*n)//m for j = 0..m-1; n <= m: all n, and the caller appends `zero_rows(n, m)` zeros.

    Source: the feature loaders of Flipped-VQA, BoViLA and TOPA (spec bovila, section 4.5); integer arithmetic.
    """
    _check(n, m)
    return list(range(n)) if n <= m else [(j * n) // m for j in range(m)]


def segment_middle(n: int, m: int) -> list[int]:
    """The middle of m equal segments, floor((j + 1/2) * n/m): always m indices, repeated when n < m.

    Source: TSN sampling at test time (arXiv 1608.00859), the usual choice for decoded frames.
    """
    _check(n, m)
    return [((2 * j + 1) * n) // (2 * m) for j in range(m)]


def linspace(n: int, m: int) -> list[int]:
    """m points evenly from the first to the last frame, both included, rounded down; m = 1 gives the first frame.

    Source: `np.linspace(0, n - 1, m).astype(int)` of the LLaVA family; exact here, without float error.
    """
    _check(n, m)
    return [0] if m == 1 else [(j * (n - 1)) // (m - 1) for j in range(m)]


def one_per_second(
    n: int, m: int, *, fps: float, span: tuple[float, float] | None = None, draw: random.Random | None = None
) -> list[int]:
    """One frame per second of a video of n frames; more than m are thinned out evenly, fewer than 8 taken more densely.

    Fewer than m may come back. span: only the frames that begin in it. Source: Video-Panda's loader (spec video_panda,
    section 4.1), `min_frames` 8 included.
    """
    seen = span_frames(n, span, fps)
    spaced = second_marks(len(seen), m, fps)
    size = min(m, len(spaced))
    return [seen[i] for i in spaced[:: len(spaced) // size][:size]]


def second_marks(n: int, m: int, fps: float) -> list[int]:
    """What `one_per_second` chooses from: the frames that the official loader decodes."""
    _check(n, m)
    # Changed: the official code raises for half a frame per second and less, and for a single frame. [frame_sampling]
    stride = max(round(fps), 1)
    spaced = list(range(0, n, stride))
    if len(spaced) > m:
        # numpy's own rounding decides where a point falls on a whole number.
        return [spaced[i] for i in np.linspace(0, len(spaced) - 1, m).astype(int)]
    if len(spaced) >= 8:
        return spaced
    if n == 1:
        return [0] * min(m, 8)
    few = min(8, n)
    stride = max(1, (n - 1) // (few - 1))
    return [i * stride for i in range(few)]


def stride_floor(n: int, m: int) -> list[int]:
    """i * floor(n/m) for i = 0..m-1: the tail is never seen, and with n < m the first frame is taken m times.

    Source: TOPA's caption demos (spec topa, section 4.4).
    """
    _check(n, m)
    return [i * (n // m) for i in range(m)]


def bounded_segments(
    max_frame: int, m: int, *, fps: float, bound: tuple[float, float] | None = None, first: int = 0
) -> list[int]:
    """m frames between `first` and `max_frame`, or between the seconds of `bound`: int(start + s/2 + round(s * i)) with
    s = (end - start)/m.

    Source: MVBench (VideoChat2, arXiv 2311.17005) as in TOPA's demo (spec topa, section 4.4); halves go to the even.
    """
    start, end = bound if bound is not None else (-100_000.0, 100_000.0)
    begin = max(first, round(start * fps))
    size = (min(round(end * fps), max_frame) - begin) / m
    return [int(begin + size / 2 + round(size * i)) for i in range(m)]


def interval_frames(
    n: int, m: int, *, fps: float, span: tuple[float, float] | None = None, draw: random.Random | None = None
) -> list[int]:
    """min(m, n) frames, one per interval between floor(linspace(start, end, m + 1)): its middle, or with `draw` a
    random frame of it. start, end: int(seconds * fps), kept within 0 and n.

    Source: `load_video` of LAVIS, SeViLA and ViLA (spec vila, section 4.3). Kept: a span that starts behind the video
    gives frames that do not exist (`nearest_frames` mends that); with `draw` it is a MediaError. [frame_sampling]
    """
    _check(n, m)
    count = min(m, n)
    start, end = (0, n) if span is None else (max(int(span[0] * fps), 0), min(int(span[1] * fps), n))
    # The last point is `end` itself, as in numpy's linspace; float arithmetic as there.
    step = (end - start) / count
    edges = [int(start + j * step) for j in range(count)] + [end]
    pairs = list(zip(edges, edges[1:], strict=False))
    if draw is None:
        return [(low + high) // 2 for low, high in pairs]
    if any(high < low for low, high in pairs):
        raise MediaError(f"the span starts at frame {start}, the video has {n}")
    return [draw.choice(range(low, high)) if low < high else low for low, high in pairs]


def all_exist(indices: list[int], n: int, m: int) -> bool:
    """Whether these are m frames of a video of n; the official loaders take another Sample where they are not."""
    return len(indices) == m and all(0 <= index < n for index in indices)


def nearest_frames(indices: list[int], n: int) -> list[int]:
    """Indices moved into 0..n-1."""
    return [min(max(index, 0), n - 1) for index in indices]


def zero_rows(n: int, m: int) -> int:
    """How many zero rows follow the indices of `uniform_floor(n, m)`."""
    return max(m - n, 0)


def at_fps(n: int, source_fps: float, fps: float) -> list[int]:
    """Frames that `ffmpeg -vf fps=<fps>` keeps of n frames at the constant rate `source_fps`; never fewer than one.

    The filter rounds every time stamp to the nearest slot (half away from zero) and shows in slot k the last frame
    that has come by then, i.e. the last one earlier than (k + 1/2)/fps; the number of slots is the rounded duration.
    Source: the FrozenBiLM extractor behind `clipvitl14.pth` (spec bovila, section 4.7); checked against ffmpeg 5.1.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    step = Fraction(source_fps).limit_denominator(100_000) / Fraction(fps).limit_denominator(100_000)
    if step <= 0:
        raise ValueError(f"frame rates must be positive: source {source_fps}, wanted {fps}")
    slots = math.floor(Fraction(n) / step + Fraction(1, 2))
    if slots == 0:
        # Changed: ffmpeg keeps nothing of a video shorter than half a slot; here every readable video has a row.
        return [n // 2]
    return [min(max(math.ceil((k + Fraction(1, 2)) * step) - 1, 0), n - 1) for k in range(slots)]


def span_rows(n: int, span: tuple[float, float] | None, fps: float) -> range:
    """Rows of a feature file at `fps` rows per second that belong to a span in seconds; None is the whole file.

    [fps*round(start) : fps*(round(end)+1)] with Python's round (half to even), the end second included: STAR, VLEP and
    How2QA at 1 fps, TVQA at 3 fps (spec bovila, section 4.5). May be empty.
    """
    if span is None:
        return range(n)
    first = math.floor(fps * round(span[0]))
    last = math.ceil(fps * (round(span[1]) + 1))
    return range(min(max(first, 0), n), min(max(last, 0), n))


def span_frames(n: int, span: tuple[float, float] | None, fps: float) -> range:
    """Frames of a video at `fps` that begin within a span in seconds; at least one, the nearest, inside the video."""
    if span is None:
        return range(n)
    first = min(max(math.floor(span[0] * fps), 0), n - 1)
    last = min(max(math.ceil(span[1] * fps), first + 1), n)
    return range(first, last)


RULES: dict[str, IndexRule] = {
    "uniform_floor": uniform_floor,
    "segment_middle": segment_middle,
    "linspace": linspace,
}


# Rules that look at the frame rate and the span themselves; "random_..." draws.
FRAME_RULES: dict[str, Callable[..., list[int]]] = {
    "intervals": interval_frames,
    "random_intervals": interval_frames,
    "one_per_second": one_per_second,
    "linspace_ends": linspace_ends,
    "random_linspace_ends": linspace_ends,
}


def index_rule(name: str) -> IndexRule:
    """The rule called `name`; an unknown name raises ConfigError with the nearest one."""
    if name not in RULES:
        raise ConfigError(unknown("index rule", name, [*RULES, *FRAME_RULES]))
    return RULES[name]


def frame_indices(
    name: str, n: int, m: int, *, fps: float, span: tuple[float, float] | None, draw: random.Random | None
) -> list[int]:
    """Frames of a video of n frames at `fps` by the rule called `name`, all of them existing; at most m."""
    if name in FRAME_RULES:
        indices = FRAME_RULES[name](n, m, fps=fps, span=span, draw=draw if name.startswith("random") else None)
        return nearest_frames(indices, n)
    frames = span_frames(n, span, fps)
    return [frames[i] for i in index_rule(name)(len(frames), m)]


def _check(n: int, m: int) -> None:
    if n < 1 or m < 1:
        raise ValueError(f"n and m must be at least 1, not {n} and {m}")
