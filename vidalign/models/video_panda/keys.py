"""Names of weights: EVE's folder, the official stage folders, ours (specification video_panda, section 8).

Ours are the official ones with "video_tower", "video_projector" and "video_tower_compressor" at the top and the
language model below "lm".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar

from torch import Tensor, nn

from vidalign.checkpoint.fit import require_fit

T = TypeVar("T")

PARTS = ("video_tower", "video_projector", "video_tower_compressor")
HEAD = "model.video_tower_compressor."
# EVE's names for images, and the second names under which official files hold the same tensors.
ALIASES = {
    "model.vision_tower.": "model.video_tower.",
    "model.mm_projector.": "model.video_projector.",
    "model.video_tower_compressor.teacher_layer.": "model.video_teacher.",
}
_EVE = ALIASES | {"model.vision_tower_compressor.": HEAD}
_TEACHER = ("model.video_teacher.", "model.video_tower_compressor.teacher_layer.")
_UNUSED = ("rotary_emb.inv_freq", "clip")


def own_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The model's parameters and buffers under our names, without the teacher."""
    return {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("teacher.")}


def official_name(name: str) -> str:
    """Our name -> the released one."""
    return f"model.{name}" if name.split(".")[0] in PARTS else name.removeprefix("lm.")


def eve_name(name: str) -> str | None:
    """A released name -> EVE's, None for what only Video-Panda has."""
    if _only_in_video_panda(name):
        return None
    prefix = next((own for own in sorted(_EVE) if name.startswith(_EVE[own])), None)
    return name if prefix is None else prefix + name.removeprefix(_EVE[prefix])


def our_name(name: str) -> str:
    """A released name -> ours."""
    inner = name.removeprefix("model.")
    return inner if inner.split(".")[0] in PARTS else f"lm.{name}"


def canonical(state: Mapping[str, T]) -> dict[str, T]:
    """A file's names without aliases, image teacher, video teacher and rotary buffers, under released names.

    A tensor that is there under both names is taken from `video_*`.
    """
    found: dict[str, T] = {}
    for name, value in state.items():
        target = destination(name)
        if target is not None and (target == name or target not in state):
            found[target] = value
    return found


def destination(name: str) -> str | None:
    """The released name under which a file's tensor is used; None for what is ignored."""
    if any(part in name for part in _UNUSED) or name.startswith(_TEACHER):
        return None
    prefix = next((prefix for prefix in _EVE if name.startswith(prefix)), None)
    return name if prefix is None else _EVE[prefix] + name.removeprefix(prefix)


def places(name: str, known: Collection[str]) -> list[str]:
    """Every released name that a file's tensor fills at the start of stage one, second names included.

    known: the released names of the model, second names and rotary buffers included.
    """
    target = name if name.endswith("rotary_emb.inv_freq") else destination(name)
    if target is None or target not in known:
        return []
    return [target, *(other for other in second_names(target) if other in known)]


def second_names(name: str) -> list[str]:
    """The other names under which official files hold a tensor."""
    return [alias + name.removeprefix(own) for alias, own in ALIASES.items() if name.startswith(own)]


def left_at_start(names: Iterable[str], model: nn.Module) -> list[str]:
    """Released names of the model's parameters that a file with these names does not fill."""
    given = {destination(name) for name in names}
    ours = (name for name, _ in model.named_parameters() if not name.startswith("teacher."))
    return [official_name(name) for name in ours if official_name(name) not in given]


def official_shapes(model: nn.Module, *, teacher: nn.Module | None) -> dict[str, list[int]]:
    """Every name of an official file with its shape, second names, teacher and rotary buffers included."""
    shapes = {}
    for name, tensor in own_tensors(model).items():
        shapes[official_name(name)] = list(tensor.shape)
    sizes = model.lm.config
    for layer in range(sizes.num_hidden_layers):
        half = sizes.hidden_size // sizes.num_attention_heads // 2
        shapes[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = [half]
    if teacher is not None:
        own = {f"model.video_teacher.video_tower.{n}": list(t.shape) for n, t in teacher.state_dict().items()}
        shapes |= own
    return shapes | {other: shape for name, shape in shapes.items() for other in second_names(name)}


def load_start(model: nn.Module, state: Mapping[str, T], *, where: str) -> None:
    """Weights of a folder into the model, completely or CheckpointError.

    An EVE file may lack what only Video-Panda has, a plain LLaMA file the whole visual part; those keep their start
    values. A file with any of Video-Panda's own parts must have all. The alignment head's weights are passed over when
    the model has none (evaluation).
    """
    given = canonical(state)
    wanted = {official_name(name): tuple(tensor.shape) for name, tensor in own_tensors(model).items()}
    if not any(name.startswith(HEAD) for name in wanted):
        given = {name: tensor for name, tensor in given.items() if not name.startswith(HEAD)}
    if any(name.startswith("model.video_tower.lmhra1.") for name in given):
        optional = set()
    elif any(name.startswith("model.video_tower.") for name in given):
        optional = {name for name in wanted if _only_in_video_panda(name)}
    else:
        optional = {name for name in wanted if our_name(name).split(".")[0] in PARTS}
    require_fit(wanted, given, where=where, optional=optional)
    model.load_state_dict({our_name(name): tensor for name, tensor in given.items()}, strict=False)


def _only_in_video_panda(name: str) -> bool:
    new = ("balance", "temporal_cls_token", "lmhra1.", "lmhra2.", "dpe.", "dec.", "proj.")
    return name.startswith("model.video_tower.") and name.removeprefix("model.video_tower.").startswith(new)
