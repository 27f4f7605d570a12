"""What is this file? Keys, shapes and counts of a checkpoint, for `vidalign inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidalign.checkpoint.load import read_checkpoint
from vidalign.checkpoint.recognise import recognise

if TYPE_CHECKING:
    from torch import Tensor


def describe(path: Path | str) -> str:
    """A table: the other entries of the file, then every tensor's name, shape and type, then the totals."""
    content = read_checkpoint(path)
    state = content.get("model")
    nested = isinstance(state, dict)
    tensors = _tensors(state if nested else content)
    others = {name: value for name, value in content.items() if name != "model" or not nested}
    others = {name: value for name, value in others.items() if name not in tensors or nested}

    lines = [f"{path}"]
    lines += [f"  {name}: {_short(value)}" for name, value in others.items()]
    if tensors:
        width = max(len(name) for name in tensors)
        lines.append('  "model":' if nested else "  weights:")
        lines += [
            f"    {name:<{width}}  {'x'.join(map(str, tensor.shape)) or 'scalar':<16} {str(tensor.dtype)[6:]}"
            for name, tensor in tensors.items()
        ]
    numbers = sum(tensor.numel() for tensor in tensors.values())
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    lines.append(f"  {len(tensors)} tensors, {numbers:,} numbers, {size / 2**20:,.1f} MiB")
    return "\n".join([*lines, *_whose(content, tensors)])


def _whose(content: dict[str, Any], tensors: dict[str, Tensor]) -> list[str]:
    """What the file is, what it needs and what would load: by its config where it is ours, else by its names."""
    config = content.get("config")
    if isinstance(config, str) and "arch:" in config:
        arch = config.partition("arch:")[2].split(maxsplit=1)[0].strip(",")
        partial = "frozen" not in content
        return [
            f"  layout    a run of vidalign, model {arch}",
            f"  needs     {'the base weights that its config names' if partial else 'nothing else'}",
            "  taken by  run.checkpoint of a config with the same model; `vidalign export` gives the authors' layout",
        ]
    return recognise(tensors) if tensors else []


def _tensors(state: dict[str, Any]) -> dict[str, Tensor]:
    import torch

    return {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}


def _short(value: Any) -> str:
    """One line about an entry that is not the model."""
    if isinstance(value, dict):
        groups = value.get("param_groups")
        if isinstance(groups, list):
            sizes = ", ".join(str(len(group.get("params", ()))) for group in groups)
            return f"optimizer state, parameters per group: {sizes}"
        names = ", ".join(map(str, list(value)[:8]))
        return f"{len(value)} entries ({names}{', ...' if len(value) > 8 else ''})" if value else "empty"
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."
