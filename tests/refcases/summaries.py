"""Summaries under which cases store large tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def mean_last(x: Tensor) -> Tensor:
    """Mean over the last dimension."""
    return x.mean(-1)


def square_mean_last(x: Tensor) -> Tensor:
    """Mean square over the last dimension."""
    return (x * x).mean(-1)


def abs_sum(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Sum of absolute values over some dimensions."""
    return x.abs().sum(dims)


def norms(states: Sequence[Tensor]) -> Tensor:
    """Lengths of the vectors of every state, stacked."""
    return torch.stack([state.norm(dim=-1) for state in states])


def best(logits: Tensor) -> Tensor:
    """Index of the largest."""
    return logits.argmax(-1)
