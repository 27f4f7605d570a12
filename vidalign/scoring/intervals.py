"""Confidence intervals of shares."""

from __future__ import annotations

import math


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
