"""LF-VILA's learning rates, in the positions of runners/schedules.py (specification lf_vila, section 5).

Kept: the rate of the first step is `warmup_lr`, which is 0, and only the straight line starts counting after the
warm-up: cosine and steps count from the first step. [lr_schedules]
"""

from __future__ import annotations

import math

LINEAR_END = 0.01  # share of the peak at the end


def lf_vila_linear(
    position: float, *, peak: float, warmup_lr: float = 0.0, warmup_epochs: float, epochs: float
) -> float:
    """Warm-up, then a straight line through 1 % of the peak at the end of the last epoch.

    Kept: the line has no floor, and goes below 0 after the last epoch, where no run comes.
    """
    if position < warmup_epochs:
        return _warmup(position, peak, warmup_lr, warmup_epochs)
    left = max(epochs - warmup_epochs, 1e-12)
    return peak * (1.0 - (1.0 - LINEAR_END) * (position - warmup_epochs) / left)


def lf_vila_step(
    position: float,
    *,
    peak: float,
    warmup_lr: float = 0.0,
    warmup_epochs: float,
    decay_rate: float,
    decay_epochs: float,
    iterations_per_epoch: int = 1,
) -> float:
    """Warm-up, then a factor of `decay_rate` every `decay_epochs`."""
    if position < warmup_epochs:
        return _warmup(position, peak, warmup_lr, warmup_epochs)
    # Whole steps, so that an epoch's last step does not fall into the next one by rounding.
    step, length = round(position * iterations_per_epoch), round(decay_epochs * iterations_per_epoch)
    return peak * decay_rate ** (step // max(length, 1))


def lf_vila_cosine(
    position: float, *, peak: float, min_lr: float, warmup_lr: float = 0.0, warmup_epochs: float, epochs: float
) -> float:
    """Warm-up, then the rest of half a cosine that began with the first step; `min_lr` after the last epoch."""
    if position < warmup_epochs:
        return _warmup(position, peak, warmup_lr, warmup_epochs)
    if position >= epochs:
        return min_lr
    return min_lr + 0.5 * (peak - min_lr) * (1.0 + math.cos(math.pi * position / epochs))


def _warmup(position: float, peak: float, warmup_lr: float, warmup_epochs: float) -> float:
    return warmup_lr + (peak - warmup_lr) * position / warmup_epochs
