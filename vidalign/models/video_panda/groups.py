"""Optimizer groups of the three stages (specification video_panda, section 5)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from vidalign.models.video_panda.keys import official_name

# Kept: the second, unused stack of LSTE is in the official groups, though it never has a gradient. [param_groups]
_UNUSED = "video_tower.lmhra2."


@dataclass(frozen=True)
class Group:
    """Released names of parameters with one learning rate; `decayed` where a weight decay would act on them."""

    lr: float
    decayed: bool
    names: tuple[str, ...]


def optimizer_groups(model: nn.Module, *, base: float, tower: float, projector: float | None) -> list[Group]:
    """The official groups in their order; without a rate for the projector all parts have the base rate.

    Biases and LayerNorms are not decayed, RMSNorms are. Names with "tower" in them get the tower's rate, which holds
    for STAB and the alignment head.
    """
    names = [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad or (name.startswith(_UNUSED) and _trains(model))
    ]
    spared = _spared(model)
    if projector is None:
        parts = [(base, "", decayed) for decayed in (True, False)]
    else:
        rates = [(base, "lm"), (tower, "tower")]
        parts = [(rate, part, decayed) for decayed in (True, False) for rate, part in rates]
        parts += [(projector, "projector", decayed) for decayed in (True, False)]
    return [
        Group(
            rate,
            decayed,
            tuple(official_name(n) for n in names if part in ("", part_of(n)) and (n not in spared) == decayed),
        )
        for rate, part, decayed in parts
    ]


def part_of(name: str) -> str:
    """lm, tower (STAB and the alignment head) or projector, of our name."""
    if name.startswith("video_projector."):
        return "projector"
    return "tower" if name.startswith("video_tower") else "lm"


def _spared(model: nn.Module) -> set[str]:
    norms = {
        f"{prefix}.{name}"
        for prefix, module in model.named_modules()
        if isinstance(module, nn.LayerNorm)
        for name, _ in module.named_parameters()
    }
    return norms | {name for name, _ in model.named_parameters() if "bias" in name}


def _trains(model: nn.Module) -> bool:
    return model.video_tower.class_embedding.requires_grad
