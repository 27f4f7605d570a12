"""A VideoPanda model from its config: language model, STAB, alignment head, teacher, and their start weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vidalign.backbones.languagebind import SIZES as TEACHERS
from vidalign.backbones.languagebind import LanguageBindVideo, load_languagebind
from vidalign.backbones.llm_sizes import SIZES as LANGUAGE_MODELS
from vidalign.backbones.meta_llama import build_llama, llama_config
from vidalign.checkpoint.folder import read_folder
from vidalign.common.errors import CheckpointError
from vidalign.models.video_panda.alignment import AlignmentHead, aligned_states
from vidalign.models.video_panda.config import SIZES
from vidalign.models.video_panda.keys import PARTS, load_start
from vidalign.models.video_panda.stab import Stab

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


def build(cls: Any, config: Any, *, dtype: torch.dtype | None, cache_dir: Path | None) -> nn.Module:
    """`cls` with the config's parts and weights, frozen as its stage says."""
    size, frozen = SIZES[config.size], dtype or DTYPES[config.dtype]
    row = LANGUAGE_MODELS[size["lm"]]
    folder = None if config.weights is None else Path(config.weights)
    lm = build_llama(
        llama_config(row if folder is None else llama_row(folder), vocab_size=vocabulary(folder, row)),
        dtype=torch.float32,
    )
    teacher = build_teacher(config, size, frozen) if config.needs_teacher else None
    layers = aligned_states(lm.config.num_hidden_layers, every=size["every"])
    head = None
    if config.stage != "evaluate":
        width = teacher.config.hidden_size if teacher is not None else size["dim"]
        head = AlignmentHead(lm_dim=lm.config.hidden_size, dim=width, states=len(layers))
    tower = Stab(dim=size["dim"], patch_px=size["patch_px"], gstra_heads=size["gstra_heads"], parts=config.stab)
    model = cls(lm, tower, config=config, layers=layers, head=head, teacher=teacher, cache_dir=cache_dir)
    start_values(model)
    if folder is not None:
        load_start(model, read_folder(folder), where=str(folder))
    freeze(model, config.stage, frozen)
    return model


def start_values(model: nn.Module) -> None:
    """Every Linear of the visual part from N(0, 0.02): what transformers draws for layers that a file lacks."""
    parts = [getattr(model, part) for part in PARTS if hasattr(model, part)]
    for linear in (one for part in parts for one in part.modules() if isinstance(one, nn.Linear)):
        nn.init.normal_(linear.weight, std=0.02)
        if linear.bias is not None:
            nn.init.zeros_(linear.bias)


def freeze(model: nn.Module, stage: str, frozen: torch.dtype) -> None:
    """What the stage trains is float32, all else has the frozen type."""
    if stage == "evaluate":
        model.requires_grad_(False).to(frozen)
    elif stage == "prealign":
        model.lm.requires_grad_(False).to(frozen)
    if model.teacher is not None:
        model.teacher.requires_grad_(False).to(frozen)


def build_teacher(config: Any, size: dict[str, Any], dtype: torch.dtype) -> LanguageBindVideo:
    """The frozen teacher of the config's folder, or a random one of the size's dimensions."""
    if config.teacher is not None:
        return load_languagebind(config.teacher, dtype=dtype)
    square = {"image_size": size["side"] * size["patch_px"], "patch_size": size["patch_px"]}
    return LanguageBindVideo(num_frames=8, **square, **TEACHERS[size["teacher"]]).to(dtype)


def llama_row(folder: Path) -> dict[str, Any]:
    """The LLaMA fields of a folder's config.json; everything else in it is ours to know.

    Changed: the official code needs EVE's config.json replaced by hand.
    """
    values = _config(folder)
    try:
        return {
            "dim": values["hidden_size"],
            "n_layers": values["num_hidden_layers"],
            "n_heads": values["num_attention_heads"],
            "n_kv_heads": values.get("num_key_value_heads"),
            "ffn_hidden": values["intermediate_size"],
            "norm_eps": values.get("rms_norm_eps", 1e-5),
            "rope_theta": values.get("rope_theta") or 10000.0,
        }
    except KeyError as error:
        raise CheckpointError(f"{folder / 'config.json'} has no {error}; it is no LLaMA's config") from error


def vocabulary(folder: Path | None, row: dict[str, Any]) -> int:
    """Rows of the token table."""
    return row["vocab_size"] if folder is None else int(_config(folder).get("vocab_size", 32000))


def _config(folder: Path) -> dict[str, Any]:
    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError(f"a {type(values).__name__}, no object")
        return values
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder}: no readable config.json: {error}") from error
