"""Learning rate over time. A schedule is a plain function of the position in the run, counted in epochs.

`position` = epoch + iteration / iterations per epoch, where an iteration is one micro-batch. The training loop asks
only at the first micro-batch of an optimizer step, as the official BoViLA loop does (spec bovila, section 5).
"""

from __future__ import annotations

import math
from collections.abc import Callable


def constant(position: float, *, peak: float, min_lr: float, warmup_epochs: float, epochs: float) -> float:
    """The peak rate after a linear warm-up from 0."""
    return _warmup(position, peak, warmup_epochs) if position < warmup_epochs else peak


def warmup_cosine(position: float, *, peak: float, min_lr: float, warmup_epochs: float, epochs: float) -> float:
    """Linear warm-up from 0 to `peak`, then half a cosine down to `min_lr` at the end of the last epoch.

    The first update has rate 0. Source: BoViLA and its parents (MAE's schedule). [golden: lr_schedule_and_frames]
    """
    if position < warmup_epochs:
        return _warmup(position, peak, warmup_epochs)
    return min_lr + (peak - min_lr) * 0.5 * (1.0 + math.cos(math.pi * _progress(position, warmup_epochs, epochs)))


def warmup_cosine_whole(
    position: float,
    *,
    peak: float,
    min_lr: float,
    warmup_epochs: float,
    epochs: float,
    iterations_per_epoch: int,
    accumulate: int = 1,
) -> float:
    """`warmup_cosine` with a warm-up of whole steps, rounded up, as in transformers' `get_cosine_schedule_with_warmup`.

    [lr_schedule]
    """
    steps_per_epoch = iterations_per_epoch / accumulate
    whole = whole_warmup_steps(warmup_epochs / epochs, round(epochs * steps_per_epoch)) / steps_per_epoch
    return warmup_cosine(position, peak=peak, min_lr=min_lr, warmup_epochs=whole, epochs=epochs)


def run_steps(samples: int, global_batch: int) -> int:
    """Steps of one pass over so many samples; the last step may have fewer."""
    return math.ceil(samples / global_batch)


def whole_warmup_steps(ratio: float, steps: int) -> int:
    """Steps of a warm-up that takes this share of a run, rounded up.

    Kept: the product is rounded as it comes, so 0.07 of 100 steps are 8, not 7. [lr_schedule]
    """
    return math.ceil(ratio * steps)


def warmup_linear(position: float, *, peak: float, min_lr: float, warmup_epochs: float, epochs: float) -> float:
    """Linear warm-up from 0 to `peak`, then a straight line down to `min_lr` at the end of the last epoch."""
    if position < warmup_epochs:
        return _warmup(position, peak, warmup_epochs)
    return peak + (min_lr - peak) * _progress(position, warmup_epochs, epochs)


def lavis_warmup_cosine(
    position: float,
    *,
    peak: float,
    min_lr: float,
    warmup_lr: float,
    warmup_steps: int,
    epochs: float,
    iterations_per_epoch: int,
) -> float:
    """LAVIS' `linear_warmup_cosine_lr`, which ViLA and SeViLA use; see `lavis_rate`. [schedules]"""
    epoch, step = place(position, iterations_per_epoch)
    later = (peak - min_lr) * 0.5 * (1.0 + math.cos(math.pi * epoch / epochs)) + min_lr
    return lavis_rate(epoch, step, later=later, peak=peak, warmup_lr=warmup_lr, warmup_steps=warmup_steps)


def lavis_warmup_step(
    position: float,
    *,
    peak: float,
    min_lr: float,
    warmup_lr: float,
    warmup_steps: int,
    decay_rate: float,
    iterations_per_epoch: int,
) -> float:
    """LAVIS' `linear_warmup_step_lr`: times `decay_rate` every epoch. [schedules]"""
    epoch, step = place(position, iterations_per_epoch)
    later = max(min_lr, peak * decay_rate**epoch)
    return lavis_rate(epoch, step, later=later, peak=peak, warmup_lr=warmup_lr, warmup_steps=warmup_steps)


def lavis_rate(epoch: int, step: int, *, later: float, peak: float, warmup_lr: float, warmup_steps: int) -> float:
    """The rate `later` is constant within an epoch; the first epoch is the warm-up's.

    Kept: the warm-up counts micro-batches and lives in the first epoch only, which cuts it when it is too short; the
    rest of that epoch has the peak rate (spec vila, section 5.1).
    """
    if epoch > 0:
        return later
    return min(peak, warmup_lr + (peak - warmup_lr) * step / max(warmup_steps, 1))


def position(epoch: int, iteration: int, iterations_per_epoch: int) -> float:
    """Of a micro-batch, in epochs: what the training loop asks a schedule for."""
    return epoch + iteration / iterations_per_epoch


def place(position: float, iterations_per_epoch: int) -> tuple[int, int]:
    """(epoch, micro-batch in it) of a position in epochs."""
    return divmod(round(position * iterations_per_epoch), iterations_per_epoch)


def updates(
    lr_at: Callable[[float], float], *, epochs: int, iterations_per_epoch: int, accumulate: int
) -> list[tuple[int, int, float]]:
    """(epoch, iteration, rate) each time the training loop asks: at the first micro-batch of every step.

    The last step of an epoch is listed even when micro-batches are lacking and it is not taken, as in the official log.
    """
    return [
        (epoch, iteration, lr_at(epoch + iteration / iterations_per_epoch))
        for epoch in range(epochs)
        for iteration in range(0, iterations_per_epoch, accumulate)
    ]


def _warmup(position: float, peak: float, warmup_epochs: float) -> float:
    return peak * position / warmup_epochs


def _progress(position: float, warmup_epochs: float, epochs: float) -> float:
    """0 at the end of the warm-up, 1 at the end of the run; 1 also when the warm-up fills the whole run."""
    if epochs <= warmup_epochs:
        return 1.0
    return min((position - warmup_epochs) / (epochs - warmup_epochs), 1.0)
