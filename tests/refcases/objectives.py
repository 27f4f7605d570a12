"""Scalars whose gradients a case holds, where the official recipe takes one that no model of the package computes."""

from __future__ import annotations

import torch
from torch import Tensor


def mean_square(x: Tensor) -> Tensor:
    """mean(x ** 2)."""
    return (x * x).mean()


def ramp(x: Tensor) -> Tensor:
    """linspace(-1, 1) over the elements of x in row-major order, in its shape: weights of a sum."""
    return torch.linspace(-1, 1, x.numel(), dtype=x.dtype).reshape(x.shape)


def change_norm(after: Tensor, before: Tensor) -> Tensor:
    """L2 norm of what training changed."""
    return (after.detach() - before).norm()


def centred(count: int) -> Tensor:
    """`count` whole numbers, 0 in the middle."""
    return torch.arange(count) - count // 2


def fixed_projection(x: Tensor, weight: Tensor) -> Tensor:
    """sum(x * weight) / sqrt(number of values)."""
    return (x * weight).sum() / x.numel() ** 0.5


def paragraph_probe(tokens_BTD: Tensor) -> Tensor:
    """LF-VILA's text cases: mean square of place 0, plus the mean of all tokens times weights from -1 to 1."""
    weights_D = torch.linspace(-1, 1, tokens_BTD.shape[-1])
    return (tokens_BTD[:, 0] ** 2).mean() + (tokens_BTD * weights_D).mean()
