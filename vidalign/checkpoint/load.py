"""Reading checkpoints safely: torch files without arbitrary code (weights_only) or safetensors."""

from __future__ import annotations

import argparse
import pickle
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidalign.common.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

# Released files keep their command line in "args"; nothing else than plain data may be in a file.
ALLOWED = (argparse.Namespace,)

SUFFIXES = (".pt", ".pth", ".bin", ".safetensors")


def read_checkpoint(path: Path | str) -> dict[str, Any]:
    """The file's content on the CPU; a safetensors file becomes {"model": its tensors}.

    CheckpointError: no such file, cut off, not a checkpoint, or it asks for code to be run.
    """
    path = Path(path)
    if path.is_dir():
        inside = sorted(one.name for one in path.iterdir() if one.suffix in SUFFIXES)
        told = f"name one of its files: {', '.join(inside[:8])}" if inside else "there are no weights in it"
        raise CheckpointError(f"{path} is a folder; {told}")
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    if path.suffix == ".safetensors":
        return {"model": _safetensors(path)}
    return safe_load(path)


def safe_load(path: Path, *, map_location: str = "cpu", mmap: bool = False) -> dict[str, Any]:
    """torch.load of plain data only; CheckpointError for a file that is damaged, no dictionary, or asks for code."""
    import torch

    mmap = mmap and zipfile.is_zipfile(path)  # files of torch < 1.6 are read into memory
    try:
        with torch.serialization.safe_globals(list(ALLOWED)):
            content = torch.load(path, map_location=map_location, mmap=mmap, weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refused(path, str(error))) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, IndexError, TypeError) as error:
        # A damaged file can fail anywhere inside torch's reader; all of that means the same to the user.
        if not _begins_like_one(path):
            raise CheckpointError(_refused(path, "")) from error
        raise CheckpointError(f"{path} is damaged or cut off: {_first_line(error)}; fetch or save it again") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a dictionary of weights")
    return content


def model_state(content: dict[str, Any], *, where: str) -> dict[str, Tensor]:
    """The weights in a checkpoint: its "model" entry, or the whole when it is nothing but tensors."""
    import torch

    state = content.get("model", content)
    if not isinstance(state, dict):
        raise CheckpointError(f'{where}: its "model" entry is a {type(state).__name__}, not a dictionary of weights')
    strangers = [name for name, value in state.items() if not isinstance(value, torch.Tensor)]
    if strangers:
        raise CheckpointError(
            f'{where}: not a model checkpoint: it has no "model" entry, and {len(strangers)} entries are not tensors '
            f"({', '.join(map(str, strangers[:5]))})"
        )
    return {name: value.detach() for name, value in state.items()}


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged or not a safetensors file: {_first_line(error)}") from error


def _begins_like_one(path: Path) -> bool:
    """Whether the first bytes are those of a zip archive or of a pickle."""
    try:
        with open(path, "rb") as file:
            return file.read(2) in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
    except OSError:
        return True


def _refused(path: Path, message: str) -> str:
    named = re.search(r"GLOBAL (\S+)", message)
    if named is None:
        return f"{path} is not a checkpoint: no torch file, and no pickle of plain tensors"
    return (
        f"{path} asks for {named[1]} when it is opened; only tensors and plain values are allowed, because opening "
        "such a file would run its code. If you trust the source, convert it to safetensors first"
    )


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
