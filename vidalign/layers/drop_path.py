"""Stochastic depth (arXiv 1603.09382): in training a residual branch is left out for whole samples."""

from __future__ import annotations

from torch import Tensor, nn


class DropPath(nn.Module):
    """(B, ...) -> the same, each sample zeroed with probability `rate` in training and scaled by 1/(1 - rate) else."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Identity in evaluation and at rate 0."""
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        mask = x.new_empty((len(x),) + (1,) * (x.ndim - 1)).bernoulli_(keep)
        return x * (mask / keep)

    def extra_repr(self) -> str:
        """Shown in repr(model)."""
        return f"rate={self.rate}"
