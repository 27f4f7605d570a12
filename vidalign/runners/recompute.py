"""Activation checkpointing: blocks of a model forget their activations and compute them again in the backward pass."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from vidalign.common.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn


def checkpoint_activations(model: nn.Module, how: str) -> None:
    """Wrap the model's `checkpoint_blocks()` in place. how: none, torch, or fairscale (activations wait on the CPU).

    Names of parameters do not change. A block must depend on its arguments only: it is called twice.
    """
    if how == "none":
        return
    if not hasattr(model, "checkpoint_blocks"):
        raise ConfigError(
            f"run.activation_checkpointing: {how}, but {type(model).__name__} names no blocks for it "
            "(checkpoint_blocks); set it to none"
        )
    wrap = _fairscale() if how == "fairscale" else _with_torch
    for block in model.checkpoint_blocks():
        wrap(block)


def _with_torch(block: nn.Module) -> None:
    from torch.utils.checkpoint import checkpoint

    # The non-reentrant kind works with inputs that need no gradient and with keyword arguments.
    block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def _fairscale() -> partial:
    try:
        from fairscale.nn.checkpoint import checkpoint_wrapper
    except ImportError as error:
        raise ConfigError(
            "run.activation_checkpointing: fairscale is not installed; pip install fairscale, or use torch"
        ) from error
    return partial(checkpoint_wrapper, offload_to_cpu=True)
