"""What a model returns, and moving batches between devices."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass
class Output:
    """Result of `model(batch)` in training.

    losses: name -> weighted scalar; their plain sum is trained.
    counts: name -> number of supervised items (a 0-d tensor) behind each loss, for `loss_norm: tokens`.
    sums: names of those losses that are sums over samples, not means over items; they add up over micro-batches and
        processes without division.
    logs: detached tensors worth logging; they stay on the device until a logger asks for numbers.
    """

    losses: dict[str, Tensor]
    counts: dict[str, Tensor] = field(default_factory=dict)
    sums: frozenset[str] = frozenset()
    logs: dict[str, Tensor] = field(default_factory=dict)

    @property
    def total(self) -> Tensor:
        """Plain sum of the weighted losses: the scalar that is trained."""
        return sum(self.losses.values())


def to_device(batch: Any, device: torch.device | str) -> Any:
    """Copy every tensor in nested dicts, lists and tuples to `device`; everything else passes through."""
    if hasattr(batch, "to") and hasattr(batch, "dtype"):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        return type(batch)(to_device(value, device) for value in batch)
    return batch
