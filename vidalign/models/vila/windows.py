"""From a yes-share per frame to windows in seconds and to a score per clip (QVHighlights).

Ours: SeViLA and ViLA stop at yes or no per frame (specification vila, section 6.3). Frame i of T stands for the i-th of
T equal parts of the video.
"""

from __future__ import annotations

from collections.abc import Sequence

MAX_WINDOWS = 10


def best_windows(shares: Sequence[float], duration_seconds: float) -> list[tuple[float, float, float]]:
    """(start, end, score), best first: every run of frames that stays above one of the shares that occur.

    The score of a run is its mean share less the mean of the frames outside, so that neither the single best frame nor
    the whole video always wins.
    """
    part, total = duration_seconds / len(shares), sum(shares)
    runs = {run for level in set(shares) for run in _runs(shares, level)}
    found = []
    for first, last in runs:
        inside = sum(shares[first:last])
        outside = len(shares) - (last - first)
        score = inside / (last - first) - ((total - inside) / outside if outside else total / len(shares))
        found.append((first * part, last * part, score))
    return sorted(found, key=lambda window: (-window[2], window[0], window[1]))[:MAX_WINDOWS]


def _runs(shares: Sequence[float], level: float) -> list[tuple[int, int]]:
    """Longest stretches [first, last) whose shares are all at least `level`."""
    runs, start = [], None
    for index, share in enumerate([*shares, float("-inf")]):
        if share >= level and start is None:
            start = index
        elif share < level and start is not None:
            runs.append((start, index))
            start = None
    return runs


def clip_scores(shares: Sequence[float], duration_seconds: float, clip_seconds: float) -> list[float]:
    """The share of the frame that stands for the middle of each clip."""
    count = max(int(duration_seconds / clip_seconds), 1)
    places = [int((clip + 0.5) * clip_seconds / duration_seconds * len(shares)) for clip in range(count)]
    return [shares[min(place, len(shares) - 1)] for place in places]
