"""Key names of ViLA's files. Our modules have the released names; what differs is what a file holds.

Officially a checkpoint holds every parameter that is flagged trainable (the teacher's dead copy too) and all that is no
parameter: buffers, and two aliases of T5's token table, which ours leave out (specification vila, section 8).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vidalign.checkpoint.fit import misfits, require_fit
from vidalign.common.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor, nn

FROZEN = ("visual_encoder.", "t5_model.")
ALIASES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
# Newer peft keeps the frozen matrix of a tuned layer one level deeper.
_PEFT_LEVEL = ".base_layer."
# In some files, and no part of the models: BERT's head, and what stage one of BLIP-2 has beside the Q-Former.
_UNUSED = ("Qformer.cls.", "temp", "vision_proj.", "text_proj.", "itm_head.")


def official_name(name: str) -> str:
    """Our name -> the released one."""
    return name.replace(_PEFT_LEVEL, ".")


def is_alias(name: str) -> bool:
    """Whether a name is a second one of T5's token table."""
    return name.startswith("t5_model.") and name.endswith(ALIASES)


def official_kind(name: str, *, is_parameter: bool) -> str:
    """frozen, trainable or buffer, as the official code flags it."""
    if not is_parameter:
        return "buffer"
    return "frozen" if name.startswith(FROZEN) and "lora_" not in name else "trainable"


def official_kinds(model: nn.Module) -> dict[str, str]:
    """Released name -> its kind, for everything in a model's state."""
    parameters = {name for name, _ in model.named_parameters()}
    return {official_name(name): official_kind(name, is_parameter=name in parameters) for name in model.state_dict()}


def official_layout(model: nn.Module) -> dict[str, dict[str, Any]]:
    """Released name -> {"shape", "kind"}. [state_dict_real_size]"""
    kinds = official_kinds(model)
    state = {official_name(name): value for name, value in model.state_dict().items()}
    return {name: {"shape": list(value.shape), "kind": kinds[name]} for name, value in state.items()}


def official_counts(model: nn.Module) -> dict[str, int]:
    """Numbers in all parameters, in those flagged trainable, and in these without the teacher's copy."""
    sizes = {official_name(name): value.numel() for name, value in model.named_parameters()}
    trainable = {name: size for name, size in sizes.items() if official_kind(name, is_parameter=True) == "trainable"}
    own = [size for name, size in trainable.items() if not is_teacher(name)]
    return {
        "total": sum(sizes.values()),
        "requires_grad": sum(trainable.values()),
        "requires_grad_without_teacher": sum(own),
    }


def is_teacher(name: str) -> bool:
    """Whether a name belongs to the teacher's copy."""
    return name.split(".")[0] in ("Qformer_T", "query_tokens_T", "t5_proj_T")


def official_trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Released name -> parameter of all that the official code flags trainable and gives to its optimizer."""
    named = {official_name(name): value for name, value in model.named_parameters()}
    return {name: value for name, value in named.items() if official_kind(name, is_parameter=True) == "trainable"}


def official_state(model: nn.Module) -> dict[str, Tensor]:
    """What the official code writes as "model". [checkpoint_keys]"""
    kinds = official_kinds(model)
    state = {official_name(name): value for name, value in model.state_dict().items()}
    return {name: value for name, value in state.items() if kinds[name] != "frozen"}


def trained_state(model: nn.Module) -> dict[str, Tensor]:
    """`official_state` without the aliases (131 MB in half precision that nobody needs)."""
    return {name: value for name, value in official_state(model).items() if not is_alias(name)}


def load_complete(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """A checkpoint of the same model, completely, or CheckpointError with every misfit.

    Frozen parts in the file are loaded too where they are complete; buffers and aliases may be absent.
    """
    state = _relevant(state)
    own = {official_name(name): tuple(value.shape) for name, value in model.state_dict().items() if not is_alias(name)}
    kinds = official_kinds(model)
    optional = [name for name in own if kinds[name] == "buffer"]
    for part in FROZEN:
        frozen = [name for name in own if name.startswith(part) and kinds[name] == "frozen"]
        optional += [] if any(name in state for name in frozen) else frozen
    require_fit(own, state, where="checkpoint", optional=optional)
    copy_in(model, state)


def load_start(model: nn.Module, state: Mapping[str, Tensor], *, where: str) -> list[str]:
    """Start values of the trained part from an earlier file; returns what had to be made up, one line each.

    The student (ln_vision, query_tokens, Qformer, t5_proj) must be there completely; LoRA factors, `fs` and
    `dist_fc_bn` completely or not at all (random start); the teacher likewise (then it is a copy of the student).
    """
    state = _relevant(state)
    own = {official_name(name): tuple(value.shape) for name, value in model.state_dict().items() if not is_alias(name)}
    report, optional = [], [name for name in own if name.endswith("position_ids")]
    teacher = [name for name in own if is_teacher(name) and name not in optional]
    groups = {
        "visual_encoder": [name for name in own if name.startswith("visual_encoder.")],
        "t5_model": [name for name in own if name.startswith("t5_model.") and "lora_" not in name],
        "LoRA factors": [name for name in own if "lora_" in name],
        "fs": [name for name in own if name.startswith("fs.")],
        "dist_fc_bn": [name for name in own if name.startswith("dist_fc_bn.")],
        "teacher": teacher,
    }
    for group, names in groups.items():
        if names and not any(name in state for name in names):
            optional += names
            if group not in ("visual_encoder", "t5_model"):
                report.append(
                    f"{group}: not in {where}, " + ("copied from the student" if names is teacher else "random")
                )
    problems = misfits(own, state, optional=optional)
    if problems:
        raise CheckpointError(
            f"{where} does not fit this model ({len(problems)} of {len(own)} names differ); nothing was loaded:\n  "
            + "\n  ".join(problems)
        )
    copied = dict(state)
    if teacher and teacher[0] in optional:
        copied |= {name: state[student_name(name)] for name in teacher}
    copy_in(model, copied)
    return report


def student_name(name: str) -> str:
    """`Qformer_T.x` -> `Qformer.x`, and the other two names of the teacher."""
    head, dot, rest = name.partition(".")
    return head.removesuffix("_T") + dot + rest


def copy_in(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy tensors under released names into the model, cast to its types; nothing happens on the meta device."""
    ours = {official_name(name): name for name in model.state_dict()}
    model.load_state_dict({ours[name]: value for name, value in state.items() if name in ours}, strict=False)


def _relevant(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if not is_alias(name) and not name.startswith(_UNUSED)}


def official_checkpoint(
    state: Mapping[str, Tensor],
    *,
    optimizer: dict[str, Any],
    epoch: int,
    scaler: dict[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What the official runner writes: {"model", "optimizer", "config", "scaler", "epoch"}; epoch is 0-based."""
    return {
        "model": dict(state),
        "optimizer": optimizer,
        "config": dict(config or {}),
        "scaler": scaler or {},
        "epoch": epoch,
    }
