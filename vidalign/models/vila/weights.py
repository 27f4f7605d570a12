"""Pretrained parts into ViLA and SeViLA: EVA's, LAVIS' and Hugging Face's files (specification vila, section 8).

Complete or CheckpointError. On the meta device (dry run) files are opened and compared by their headers.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidalign.backbones import flan_t5
from vidalign.checkpoint.fit import require_fit
from vidalign.checkpoint.load import model_state, read_checkpoint, safe_load
from vidalign.common.errors import CheckpointError
from vidalign.models.vila.hf_names import from_hugging_face
from vidalign.models.vila.keys import load_start

if TYPE_CHECKING:
    from torch import Tensor, nn

_log = logging.getLogger(__name__)


def load_pretrained(model: nn.Module, weights: Any, *, load_start: Any = load_start) -> None:
    """Everything that a WeightsConfig names; nothing for format random."""
    if weights.format == "random":
        return
    if weights.format == "hf":
        state = from_hugging_face(read_folder(weights.folder))
        load_parts(model, state, where=str(weights.folder))
        report = load_start(model, state, where=str(weights.folder))
    else:
        load_vision(model, weights.vision)
        load_t5(model, weights.t5)
        state = read_state(weights.start)
        report = load_start(model, state, where=str(weights.start))
    for line in report:
        _log.warning(line)


def read_state(path: Path | str) -> dict[str, Tensor]:
    """The weights of a file, memory-mapped where its format allows."""
    path = Path(path)
    if path.is_file() and path.suffix != ".safetensors":
        return model_state(safe_load(path, mmap=True), where=str(path))
    return model_state(read_checkpoint(path), where=str(path))


def read_folder(path: Path | str) -> dict[str, Tensor]:
    """All tensors of a Hugging Face folder with safetensors files (one or several shards)."""
    files = sorted(Path(path).glob("*.safetensors"))
    if not files:
        raise CheckpointError(f"{path}: no *.safetensors in it; convert the .bin files with transformers first")
    state: dict[str, Tensor] = {}
    for file in files:
        state |= read_checkpoint(file)["model"]
    return state


def load_vision(model: nn.Module, path: Path | str) -> None:
    """eva_vit_g.pth (a bare state dict of 40 blocks)."""
    model.visual_encoder.load_official(read_state(path), where=str(path))


def load_t5(model: nn.Module, path: Path | str) -> None:
    """FLAN-T5's own folder into the model's T5, in the model's type; the head stays a matrix of its own."""
    target = flan_t5.unwrapped(model.t5_model)
    source = flan_t5.load_flan_t5(path, dtype=target.shared.weight.dtype)
    fill_t5(model, dict(source.state_dict()), where=str(path))


def load_parts(model: nn.Module, state: Mapping[str, Tensor], *, where: str) -> None:
    """The frozen parts out of one state that has them all under the released names."""
    vision = {
        name.removeprefix("visual_encoder."): v for name, v in state.items() if name.startswith("visual_encoder.")
    }
    model.visual_encoder.load_official(vision, where=where)
    fill_t5(model, {n.removeprefix("t5_model."): v for n, v in state.items() if n.startswith("t5_model.")}, where=where)


def fill_t5(model: nn.Module, state: Mapping[str, Tensor], *, where: str) -> None:
    """T5's weights under Hugging Face's names into the model, LoRA wrapped or not."""
    base = flan_t5.unwrapped(model.t5_model)
    own = {name: value for name, value in base.state_dict().items() if "lora_" not in name}
    ours = {name.replace(".base_layer.", "."): name for name in own}
    wanted = {name: tuple(own[ours[name]].shape) for name in ours}
    require_fit(wanted, state, where=f"{where} (FLAN-T5)", optional=flan_t5.ALIASES)
    base.load_state_dict({ours[name]: value for name, value in state.items()}, strict=False)
    flan_t5.untie(base)
