"""Released checkpoints of BoViLA and LLaMA-VQA: {"model": {name: tensor}, "optimizer", "epoch", "scaler", "args"}.

The trained module already has the released names (backbones/video_prompts.py); ours adds scale_proj.weight and .bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from vidalign.backbones import adapter_file
from vidalign.backbones.video_prompts import VideoPrompts
from vidalign.checkpoint.fit import require_fit

_SCALE = "scale_proj."


def released_state(adapter: VideoPrompts, scale_proj: nn.Linear | None) -> dict[str, Tensor]:
    """The trained part under the released names and in their order, then the evidence scale if there is one."""
    state = dict(adapter.state_dict())
    if scale_proj is not None:
        state |= {_SCALE + name: tensor for name, tensor in scale_proj.state_dict().items()}
    return state


def load_released(adapter: VideoPrompts, scale_proj: nn.Linear | None, state: dict[str, Tensor]) -> None:
    """Load completely or raise CheckpointError listing every misfit. The evidence scale may be absent."""
    wanted = {name: tuple(tensor.shape) for name, tensor in released_state(adapter, scale_proj).items()}
    optional = [name for name in wanted if name.startswith(_SCALE)]
    if scale_proj is None:
        # A model without the evidential loss has no use for the scale that an evidential run has saved.
        state = {name: tensor for name, tensor in state.items() if not name.startswith(_SCALE)}
    require_fit(wanted, state, where="the checkpoint", optional=optional)
    adapter.load_state_dict({name: t for name, t in state.items() if not name.startswith(_SCALE)}, strict=True)
    scale = {name.removeprefix(_SCALE): t for name, t in state.items() if name.startswith(_SCALE)}
    if scale:
        scale_proj.load_state_dict(scale, strict=True)


def official_checkpoint(
    state: Mapping[str, Tensor],
    *,
    optimizer: dict[str, Any],
    epoch: int,
    scaler: dict[str, Any] | None = None,
    args: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What the authors' code writes and resumes from, made of `export_state()`, `optimizer.state_dict()` and the rest.

    The evidence scale is left out: their file has none. `epoch` is the last finished one (0-based).
    """
    own = {name: tensor for name, tensor in state.items() if not name.startswith(_SCALE)}
    return adapter_file.official_checkpoint(own, optimizer=optimizer, epoch=epoch, scaler=scaler, args=args)
