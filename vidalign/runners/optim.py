"""Which parameters train, with which optimizer and which peak rate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from vidalign.common.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    from vidalign.config.schema import OptimizerConfig


def trained_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Name -> parameter of everything that trains, in the order in which optimizer states are stored.

    A model that has `trained_parameters()` decides names and order itself (those of its released checkpoints);
    otherwise they are the module's own.
    """
    if hasattr(model, "trained_parameters"):
        return dict(model.trained_parameters())
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def learning_rate(config: OptimizerConfig, *, samples_per_step: int) -> float:
    """The peak rate: `lr`, or `base_lr` for 256 samples scaled to the samples of one optimizer step."""
    if config.lr is not None:
        return config.lr
    if config.base_lr is None:
        raise ConfigError(
            "run.optimizer: neither lr nor base_lr is set; give lr (the peak rate) or base_lr (the rate per 256 "
            "samples of a step)"
        )
    return config.base_lr * samples_per_step / 256


def samples_per_step(*, batch_size_per_gpu: int, accumulate: int, world_size: int) -> int:
    """Samples behind one optimizer step, over all micro-batches and processes."""
    return batch_size_per_gpu * accumulate * world_size


def count_parameters(parameters: Iterable[nn.Parameter]) -> int:
    """How many numbers these parameters hold."""
    return sum(parameter.numel() for parameter in parameters)


_LF_VILA_SPARED = ("bias", "LayerNorm.bias", "LayerNorm.weight", "pos_embed", "relative_position_bias_table")


def is_decayed(name: str, parameter: nn.Parameter, *, rule: str) -> bool:
    """Whether the weight decay acts on a parameter. "none": on every one. "lf_vila": parts of names decide alone, so
    Swin's norms and BERT's embeddings are decayed (specification lf_vila, section 5).

    Kept: LAVIS looks for "ln" and "bn" anywhere in a name, which spares ViLA's `dist_fc_bn.0.weight`, a matrix.
    [optimizer_groups]
    """
    if rule == "none":
        return True
    if rule == "lf_vila":
        return not any(part in name for part in _LF_VILA_SPARED)
    return parameter.ndim >= 2 and not any(part in name for part in ("bias", "ln", "bn"))


def build_optimizer(
    parameters: Mapping[str, nn.Parameter],
    config: OptimizerConfig,
    *,
    lr: float,
    factors: Mapping[str, float] | None = None,
) -> Optimizer:
    """Every trained parameter in one group, or in two: decayed and not (`no_decay`).

    factors: parameter -> factor on the learning rate, from models whose parts have rates of their own; each factor
    makes groups of its own (`set_rate`).

    Kept: without a rule the decay acts on all of them, gates and embeddings included; in BoViLA all have two dimensions
    or more, for which the official grouping decays everything. [golden: train_two_epochs]
    """
    import torch

    if not parameters:
        raise ConfigError("model: nothing is trained (every parameter is frozen); use evaluate.py")
    named: list = list(parameters.items())
    if config.no_decay != "none":
        decayed = [one for one in named if is_decayed(*one, rule=config.no_decay)]
        spared = [one for one in named if not is_decayed(*one, rule=config.no_decay)]
        named = [{"params": decayed}, {"params": spared, "weight_decay": 0.0}]
        named = [group for group in named if group["params"]]
    if factors and set(factors.values()) != {1.0}:
        named = _by_factor(named if config.no_decay != "none" else [{"params": named}], factors)
    if config.name == "sgd":
        return torch.optim.SGD(named, lr=lr, weight_decay=config.weight_decay)
    if len(config.betas) != 2:
        raise ConfigError(f"run.optimizer.betas: {config.betas} has {len(config.betas)} numbers, AdamW takes two")
    on_gpu = all(parameter.is_cuda for parameter in parameters.values())
    return torch.optim.AdamW(
        named, lr=lr, betas=tuple(config.betas), eps=config.eps, weight_decay=config.weight_decay, fused=on_gpu or None
    )


def _by_factor(groups: list[dict], factors: Mapping[str, float]) -> list[dict]:
    """Groups of named parameters split by the parameters' factors."""
    split = []
    for group in groups:
        for factor in sorted({factors[name] for name, _ in group["params"]}):
            own = [(name, parameter) for name, parameter in group["params"] if factors[name] == factor]
            split.append({**group, "params": own, "lr_scale": factor})
    return split


def set_rate(optimizer: Optimizer, lr: float) -> None:
    """Give every group the learning rate, times the group's own factor "lr_scale" where it has one."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)


def load_optimizer_state(optimizer: Optimizer, state: dict) -> None:
    """Load a stored optimizer state.

    Files written with older timm have an empty first group beside the one that holds everything; the empty groups go
    before loading (spec bovila, section 8).
    """
    groups = [group for group in state["param_groups"] if group["params"]]
    optimizer.load_state_dict({**state, "param_groups": groups})
