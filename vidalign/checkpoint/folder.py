"""All tensors of a Hugging Face folder: one file or shards, safetensors or torch, read safely, without transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from vidalign.checkpoint.load import model_state, read_checkpoint, safe_load
from vidalign.common.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

_SINGLE = ("model.safetensors", "pytorch_model.bin")
_INDEX = ("model.safetensors.index.json", "pytorch_model.bin.index.json")


def weight_files(folder: Path | str) -> list[Path]:
    """The weight files of a folder; CheckpointError when there are none or one that the index names is missing."""
    folder = Path(folder)
    for name in _INDEX:
        if (folder / name).is_file():
            files = [folder / shard for shard in sorted(set(_index(folder / name).values()))]
            missing = [file.name for file in files if not file.is_file()]
            if missing:
                raise CheckpointError(f"{folder}: {name} names {', '.join(missing)}, which are not there; get them too")
            return files
    for name in _SINGLE:
        if (folder / name).is_file():
            return [folder / name]
    raise CheckpointError(f"{folder} holds no weights; one of {', '.join((*_INDEX, *_SINGLE))} is expected")


def read_folder(folder: Path | str) -> dict[str, Tensor]:
    """Name -> tensor of all files, memory-mapped; headers alone where the default device is meta (a dry run).

    A name in two files is an error, a name that the index lists and no file has too.
    """
    state: dict[str, Tensor] = {}
    for file in weight_files(folder):
        tensors = _tensors(file)
        doubles = sorted(set(tensors) & set(state))
        if doubles:
            raise CheckpointError(f"{file}: {len(doubles)} names are in another file too, e.g. {doubles[0]}")
        state |= tensors
    for name in _INDEX:
        if (Path(folder) / name).is_file():
            lost = sorted(set(_index(Path(folder) / name)) - set(state))
            if lost:
                raise CheckpointError(f"{folder}: {len(lost)} names of {name} are in no file, e.g. {lost[0]}")
    return state


def write_folder(folder: Path | str, state: dict[str, Tensor], *, max_bytes: int = 10 * 2**30) -> list[Path]:
    """`state` as torch files of at most `max_bytes`, with their index where there are several, as transformers does.

    Files are written atomically, the index last, so that a folder without it is seen to be incomplete.
    """
    from vidalign.checkpoint.save import save_checkpoint
    from vidalign.common.io import write_json

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*_INDEX, *_SINGLE):  # of an earlier writing; a reader would take them first
        (folder / name).unlink(missing_ok=True)
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in state.items():
        length = tensor.numel() * tensor.element_size()
        if shards[-1] and size + length > max_bytes:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += length
    if len(shards) == 1:
        save_checkpoint(folder / _SINGLE[1], shards[0])
        return [folder / _SINGLE[1]]
    files = [folder / f"pytorch_model-{number:05d}-of-{len(shards):05d}.bin" for number in range(1, len(shards) + 1)]
    for file, shard in zip(files, shards, strict=True):
        save_checkpoint(file, shard)
    total = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    names = {name: file.name for file, shard in zip(files, shards, strict=True) for name in shard}
    write_json(folder / _INDEX[1], {"metadata": {"total_size": total}, "weight_map": names})
    return files


def _tensors(file: Path) -> dict[str, Tensor]:
    import torch

    on_meta = torch.get_default_device().type == "meta"
    if file.suffix == ".safetensors":
        tensors = read_checkpoint(file)["model"]
        return {name: tensor.to("meta") for name, tensor in tensors.items()} if on_meta else tensors
    return model_state(safe_load(file, map_location="meta" if on_meta else "cpu", mmap=True), where=str(file))


def _index(path: Path) -> dict[str, str]:
    try:
        names = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        if not all(isinstance(file, str) and Path(file).name == file for file in names.values()):
            raise ValueError("a shard's name is no plain file name")
        return names
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: not an index of weight files: {error}") from error
