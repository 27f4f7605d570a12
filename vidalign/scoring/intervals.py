"""Confidence intervals of shares and of means."""

from __future__ import annotations

import math
from collections.abc import Sequence


def wilson(correct: int, total: int, *, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson score interval of correct/total, as fractions; z = 1.96 is 95 %. (0, 1) when nothing was counted.

    Source: E. B. Wilson, JASA 1927. Unlike p +- z*s it stays inside 0..1 and holds for small counts.
    """
    if not 0 <= correct <= total:
        raise ValueError(f"correct={correct} is not between 0 and total={total}")
    if total == 0:
        return 0.0, 1.0
    share, z2 = correct / total, z * z
    centre = share + z2 / (2 * total)
    half = z * math.sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    scale = 1 + z2 / total
    return max((centre - half) / scale, 0.0), min((centre + half) / scale, 1.0)


def bootstrap_mean(values: Sequence[float], *, draws: int = 1000, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of a mean, from `draws` resamples with replacement; the same for the same values.

    (0, 1) when nothing was counted. For scores of single queries that are no yes or no (average precision, WUPS).
    """
    import numpy as np

    if not len(values):
        return 0.0, 1.0
    given = np.asarray(values, dtype=float)
    rng = np.random.default_rng(seed)
    means = [given[rng.integers(0, len(given), len(given))].mean() for _ in range(draws)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def macro(parts: Sequence[tuple[int, int]], *, z: float = 1.959963984540054) -> tuple[float, float]:
    """95 % interval of the plain mean of several shares, each (correct, total), by the normal approximation.

    Every share has Agresti and Coull's two added successes and failures, so that 0 of 5 does not seem certain.
    """
    shares = [((correct + 2) / (total + 4), total + 4) for correct, total in parts]
    mean = sum(correct / total if total else 0.0 for correct, total in parts) / len(parts)
    half = z * math.sqrt(sum(p * (1 - p) / n for p, n in shares)) / len(parts)
    return max(mean - half, 0.0), min(mean + half, 1.0)
