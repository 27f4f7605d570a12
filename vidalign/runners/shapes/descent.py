"""How every small model of the drawn world learns: AdamW, gradients no longer than one, a rate given at each step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class Descent:
    """The optimizer of one model and of the heads that are thrown away with it."""

    def __init__(self, trained: Iterable[Tensor]) -> None:
        import torch

        self._trained = list(trained)
        self._optimizer = torch.optim.AdamW(self._trained, betas=(0.9, 0.98), weight_decay=0.01)

    def step(self, loss: Tensor, *, lr: float) -> float:
        """One step down; returns the loss."""
        from torch.nn.utils import clip_grad_norm_

        self._optimizer.param_groups[0]["lr"] = lr
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        clip_grad_norm_(self._trained, 1.0)
        self._optimizer.step()
        return float(loss.detach())


def held(peak: float, step: int, steps: int) -> float:
    """Rate of a step: up within 50 steps, full for two thirds of the way, then down to a twentieth."""
    return peak * min(1, (step + 1) / 50) * min(1.0, max(0.05, 3 * (1 - step / steps)))


def cosine(peak: float, step: int, steps: int) -> float:
    """Rate of a step: up within 20 steps, and half a cosine down."""
    return peak * min(1.0, step / 20) * (1 + math.cos(math.pi * step / steps)) / 2
