"""Writing checkpoints: whole or not at all, the file before untouched until the new one is complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vidalign.common.errors import CheckpointError
from vidalign.common.io import atomic_write


def save_checkpoint(path: Path | str, content: dict[str, Any], *, also: Sequence[str] = ()) -> None:
    """Write `content` (tensors, numbers, strings, lists, dicts) with torch.save, atomically.

    also: further names in the same folder, links where the file system has them. They are there before `path` is, so
    that whoever finds this content under `path` finds all of them, wherever the process was killed.
    CheckpointError when the disk is full or the folder cannot be written; an older file of that name survives.
    """
    import torch

    path = Path(path)
    new = path.with_name(f".{path.name}.new.part")
    try:
        with atomic_write(new, "wb") as file:
            torch.save(to_cpu(content), file)
        for name in also:
            _link(new, path.with_name(name))
        os.replace(new, path)
    except (OSError, RuntimeError) as error:  # torch's zip writer turns some write errors into RuntimeError
        if "DataLoader worker" in str(error):
            raise  # torch tells of a lost worker from a signal handler, at whatever line the process is: not the disk
        new.unlink(missing_ok=True)
        kept = " The checkpoint written before is untouched." if path.exists() else ""
        raise CheckpointError(f"{path} could not be written: {_reason(error)}.{kept} Is the disk full?") from error


def _link(source: Path, target: Path) -> None:
    """`target` becomes another name of `source`'s content, atomically; a copy where there are no hard links."""
    step = target.with_name(f".{target.name}.{os.getpid()}.part")
    step.unlink(missing_ok=True)
    try:
        os.link(source, step)
    except OSError:
        with atomic_write(target, "wb") as file, open(source, "rb") as original:
            shutil.copyfileobj(original, file, 1 << 20)
        return
    os.replace(step, target)


def _reason(error: BaseException) -> str:
    """What the system said; torch's writer covers it with an error of its own."""
    told: BaseException | None = error
    while told is not None:
        if isinstance(told, OSError):
            return told.strerror or str(told)
        told = told.__context__
    return str(error)


def to_cpu(content: Any) -> Any:
    """Tensors in nested dicts, lists and tuples copied to the CPU, so that a file opens on machines without a GPU.

    Parameters become plain tensors; a view is copied alone, not with the storage behind it.
    """
    import torch

    if isinstance(content, torch.Tensor):
        tensor = content.detach().cpu()
        return tensor.clone() if tensor.numel() * tensor.element_size() < tensor.untyped_storage().nbytes() else tensor
    if isinstance(content, dict):
        return {key: to_cpu(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return type(content)(to_cpu(value) for value in content)
    return content
