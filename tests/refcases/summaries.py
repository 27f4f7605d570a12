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


def mean_rows_and_columns(frames: Tensor) -> tuple[Tensor, Tensor]:
    """Means of every row and of every column of the last two dimensions."""
    return frames.mean(-1), frames.mean(-2)


def centre(frame: Tensor, *, of: Tensor) -> Tensor:
    """The middle of a frame (C, H, W), as large as `of`."""
    height, width = of.shape[-2:]
    top, left = (frame.shape[-2] - height) // 2, (frame.shape[-1] - width) // 2
    return frame[:, top : top + height, left : left + width]


def valid_range(mask: Tensor) -> tuple[list[int], list[int]]:
    """First and last marked row, and column, of a mask (H, W)."""
    places = mask.nonzero()
    (top, left), (bottom, right) = places.amin(0).tolist(), places.amax(0).tolist()
    return [top, bottom], [left, right]


def describe(x: Tensor) -> dict[str, object]:
    """Shape, mean, deviation and largest absolute value."""
    x = x.float()
    std = x.std().item() if x.numel() > 1 else 0.0
    return {"shape": list(x.shape), "mean": x.mean().item(), "std": std, "absmax": x.abs().max().item()}


def same(one: Tensor, other: Tensor) -> bool:
    """Whether all values are equal."""
    return torch.equal(one, other)
