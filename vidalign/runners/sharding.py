"""FSDP2: parameters, gradients and optimizer states in parts, one part per process (`run.parallel: fsdp`).

Takes the place of DeepSpeed's ZeRO stages for models whose weights all train. Blocks are gathered one after the other
while they compute; what is frozen stays whole in every process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vidalign.common import dist
from vidalign.common.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.optim import Optimizer


def shard(model: nn.Module, *, device: torch.device) -> None:
    """Divide the model among the processes, in place; nothing to do with one process.

    Every `checkpoint_blocks()` is a unit of its own, all other trained parameters are one. Processes must hold equal
    weights. Trained parameters stay float32; the runner's autocast decides the compute type.
    """
    if dist.world_size() == 1:
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    if not hasattr(model, "checkpoint_blocks"):
        raise ConfigError(f"run.parallel: fsdp, but {type(model).__name__} names no blocks for it; set it to ddp")
    mesh = init_device_mesh(device.type, (dist.world_size(),))
    frozen = {parameter for parameter in model.parameters() if not parameter.requires_grad}
    for block in model.checkpoint_blocks():
        fully_shard(block, mesh=mesh, ignored_params=frozen & set(block.parameters()))
    fully_shard(model, mesh=mesh, ignored_params=frozen)


def is_sharded(model: nn.Module) -> bool:
    """Whether the model was divided."""
    import torch

    if not torch.distributed.is_available():
        return False
    from torch.distributed.fsdp import FSDPModule

    return isinstance(model, FSDPModule)


def gathered(content: Any) -> Any:
    """Divided tensors in nested dicts and lists made whole, on the CPU of the first process; all processes must call.

    On the others every divided tensor is None. Tensors that are not divided stay as they are.
    """
    from torch.distributed.tensor import DTensor

    if isinstance(content, DTensor):
        whole = content.full_tensor()
        return whole.cpu() if dist.is_main() else None
    if isinstance(content, Mapping):
        return {key: gathered(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return type(content)(gathered(value) for value in content)
    return content


def divided_state(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """A whole optimizer state divided as the optimizer's parameters are, for `load_state_dict`."""
    import torch
    from torch.distributed.tensor import DTensor, distribute_tensor

    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    own: dict[int, dict[str, Any]] = {}
    for number, parameter in zip(numbers, parameters, strict=True):
        if number not in state["state"]:
            continue
        values = dict(state["state"][number])
        for name, value in values.items():
            fits = isinstance(value, torch.Tensor) and value.shape == parameter.shape and value.ndim > 0
            if fits and isinstance(parameter, DTensor):
                place = value.to(parameter.device)
                values[name] = distribute_tensor(place, parameter.device_mesh, parameter.placements)
        own[number] = values
    return {**state, "state": own}
