"""A stage's output as the official code writes and reads it: a transformers folder (specification video_panda, 8.2)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidalign.checkpoint.folder import read_folder, write_folder
from vidalign.common.errors import CheckpointError
from vidalign.common.io import write_json
from vidalign.models.video_panda.config import SIZES
from vidalign.models.video_panda.keys import canonical, second_names

_COPIED = ("tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json")


def write_stage_folder(
    state: Mapping[str, Tensor], *, setting: Callable[[str], Any], folder: Path | str, max_bytes: int = 10 * 2**30
) -> list[Path]:
    """Weights of a run's checkpoint in the official layout, bfloat16, with config.json and tokenizer.

    Returns the files.

    setting: a key of the run's config -> its value. What the checkpoint does not hold (the frozen language model of
    stage one) comes from the folder that the run started from. Second names are written too; the teacher is not, the
    official code reads it from its own folder.
    """
    start = setting("model.weights")
    whole = (canonical(read_folder(start)) if start else {}) | dict(state)
    if not any(name.startswith("model.layers.") for name in whole):
        raise CheckpointError(
            "the checkpoint holds the visual part only, and its run started from no folder whose language model could "
            "go with it; nothing was written"
        )
    half = {n: t.to(torch.bfloat16) if t.is_floating_point() else t for n, t in whole.items()}
    files = write_folder(
        folder, half | {other: t for n, t in half.items() for other in second_names(n)}, max_bytes=max_bytes
    )
    write_json(Path(folder) / "config.json", stage_config(half, setting=setting))
    for name in _COPIED if start else ():
        if (Path(start) / name).is_file():
            shutil.copyfile(Path(start) / name, Path(folder) / name)
    return files


def stage_config(state: Mapping[str, Tensor], *, setting: Callable[[str], Any]) -> dict[str, Any]:
    """The official config.json: the start folder's LLaMA fields and what Video-Panda adds."""
    start, size = setting("model.weights"), SIZES[setting("model.size")]
    given = json.loads((Path(start) / "config.json").read_text(encoding="utf-8")) if start else {}
    table = state["model.embed_tokens.weight"]
    layers = {name.split(".")[2] for name in state if name.startswith("model.layers.")}
    width = state["model.video_tower.class_embedding"].shape[0]
    return given | {
        "architectures": ["VideoPandaLlamaForCausalLM"],
        "model_type": "videopanda",
        "vocab_size": table.shape[0],
        "hidden_size": table.shape[1],
        "num_hidden_layers": len(layers),
        "num_attention_heads": given.get("num_attention_heads") or _heads(size["lm"]),
        "intermediate_size": state["model.layers.0.mlp.gate_proj.weight"].shape[0],
        "rms_norm_eps": given.get("rms_norm_eps", _norm_eps(size["lm"])),
        "torch_dtype": "bfloat16",
        "mm_projector_type": "mlp2x_gelu",
        "mm_vision_select_layer": -2,
        "mm_hidden_size": width,
        "video_hidden_size": width,
        "requires_video_distill": True,
        "requires_image_distill": False,
        "video_tower_teacher": "LanguageBind/LanguageBind_Video_merge",
        "mm_video_tower_teacher": "LanguageBind/LanguageBind_Video_merge",
    }


def _heads(lm: str) -> int:
    from vidalign.backbones.llm_sizes import SIZES as LANGUAGE_MODELS

    return LANGUAGE_MODELS[lm]["n_heads"]


def _norm_eps(lm: str) -> float:
    from vidalign.backbones.llm_sizes import SIZES as LANGUAGE_MODELS

    return LANGUAGE_MODELS[lm]["norm_eps"]
