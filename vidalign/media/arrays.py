"""Matrices of features from files of other people, without running what a pickle may ask for.

The official TOPA files (`memory.pkl`, TextVID's `features/<idx>.pkl`) are plain pickles of one tensor or array.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidalign.common.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor


UNREADABLE = (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, ValueError, TypeError, AttributeError)


def open_matrix(path: Path | str) -> Tensor:
    """(n, D) floats of a .npy, .safetensors, torch or pickle file; .npy and zipped torch files are memory-mapped.

    A dictionary with a single entry counts as that entry. DataError: no such file, not one matrix, or not safe to read.
    """
    import torch

    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; a matrix of features (.npy, .safetensors, .pth or .pkl) is expected")
    try:
        content = _read(path)
    except UNREADABLE as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{path}: not a matrix that can be read safely (only arrays are allowed in it): {why}"
        ) from error
    if isinstance(content, dict) and len(content) == 1:
        [content] = content.values()
    if not hasattr(content, "ndim"):
        raise DataError(f"{path}: holds a {type(content).__name__}, expected one matrix (rows, width)")
    matrix = torch.as_tensor(content)
    if matrix.ndim != 2 or not matrix.is_floating_point():
        raise DataError(f"{path}: holds {matrix.dtype} of shape {tuple(matrix.shape)}, expected floats (rows, width)")
    return matrix.detach()


def _read(path: Path) -> Any:
    import torch

    if path.suffix == ".npy":
        import numpy as np

        # Copy-on-write: torch wants a writable array, and nothing is written.
        return np.load(path, mmap_mode="c", allow_pickle=False)
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    if zipfile.is_zipfile(path):
        return torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    return load_pickle(path)


def load_pickle(path: Path | str) -> Any:
    """What a pickle holds, provided that it is made of tensors, NumPy arrays and plain containers.

    One of UNREADABLE for any other.
    """
    with open(path, "rb") as file:
        return _ArraysOnly(file).load()


class _ArraysOnly(pickle.Unpickler):
    """Builds tensors, NumPy arrays and plain containers; everything else is refused by name."""

    def find_class(self, module: str, name: str) -> Any:
        import numpy as np
        import torch

        allowed = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
            ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
            ("torch.storage", "_load_from_bytes"): _storage,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
        }
        numpy_core = module.removesuffix(".multiarray") in ("numpy.core", "numpy._core")
        if numpy_core and name in ("_reconstruct", "scalar"):
            return getattr(np._core.multiarray, name)
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return allowed[module, name]


def _storage(data: bytes) -> Any:
    """What a pickled tensor keeps its numbers in: a torch file inside the pickle."""
    import torch

    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
