"""What a checkpoint is made of, and how it is put back.

"model" holds what a released checkpoint holds; "ranks" has what differs between processes (averages of the running
epoch, failures, random state), so that a run goes on bit for bit with the same number of them.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from vidalign.common import dist
from vidalign.common.errors import CheckpointError
from vidalign.runners.build import frozen_state, restore
from vidalign.runners.meters import EpochMeters
from vidalign.runners.optim import build_optimizer, load_optimizer_state, trained_parameters
from vidalign.runners.progress import Progress
from vidalign.runners.sharding import divided_state, is_sharded

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.amp import GradScaler
    from torch.optim import Optimizer


class Parts:
    """Model, optimizer, scaler, the loader's position, running averages and random state of one process."""

    def __init__(self, run: Any, model: nn.Module, loader: Any, *, device: torch.device) -> None:
        self.model, self.loader, self.device = model, loader, device
        # The loop sets the rate before every step.
        factors = model.learning_rate_factors() if hasattr(model, "learning_rate_factors") else None
        self.optimizer: Optimizer = build_optimizer(trained_parameters(model), run.optimizer, lr=0.0, factors=factors)
        self.scaler = _scaler(model) if run.precision == "fp16" else None
        # Gradients that wait for the next epoch's first step (run.accumulation "sum").
        self.carries = run.accumulation == "sum"
        self.meters = EpochMeters(device)

    def of_this_process(self, progress: Progress) -> dict[str, Any]:
        """The part of the state that other processes do not have."""
        import torch

        cuda = {"cuda": torch.cuda.get_rng_state(self.device)} if self.device.type == "cuda" else {}
        return {
            "progress": asdict(progress),
            "meters": self.meters.state_dict(),
            "random": {"cpu": torch.get_rng_state(), **cuda},
        }

    def content(self, ranks: list[dict[str, Any]], *, frozen: bool, **more: Any) -> dict[str, Any]:
        """Everything needed to go on; ranks: what `of_this_process` returned on each process."""
        content = {
            "model": self.model.export_state(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict() if self.scaler else {},
            "sampler": self.loader.sampler.state_dict(),
            "ranks": ranks,
            **ranks[0]["progress"],
            **more,
        }
        if self.carries:
            trained = trained_parameters(self.model).items()
            content["gradients"] = {name: one.grad for name, one in trained if one.grad is not None}
        return content | ({"frozen": frozen_state(self.model)} if frozen else {})

    def restore(self, content: dict[str, Any], *, where: str) -> Progress:
        """Put everything back where `content` was made.

        With another number of processes the position is rounded down to whole rounds of them, and the averages of the
        running epoch begin anew. A divided model has its weights already (run.py).
        """
        sharded = is_sharded(self.model)
        if not sharded:
            restore(self.model, content, where=where)
        try:
            state = content["optimizer"]
            load_optimizer_state(self.optimizer, divided_state(self.optimizer, state) if sharded else state)
            if self.scaler is not None:
                self.scaler.load_state_dict(content["scaler"])
            self.loader.sampler.load_state_dict(content["sampler"])
            trained = trained_parameters(self.model)
            for name, gradient in content.get("gradients", {}).items():
                trained[name].grad = gradient.to(trained[name].device)
            ranks = content["ranks"]
            if len(ranks) != dist.world_size():
                return _shared([rank["progress"] for rank in ranks])
            own = ranks[dist.rank()]
            self.meters.load_state_dict(own["meters"])
            self._restore_random(own["random"])
            return Progress(**{one.name: own["progress"][one.name] for one in fields(Progress)})
        except (KeyError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{where}: cannot go on from it ({error}); start over in another folder") from error

    def _restore_random(self, states: dict[str, torch.Tensor]) -> None:
        import torch

        torch.set_rng_state(states["cpu"])
        if "cuda" in states and self.device.type == "cuda":
            torch.cuda.set_rng_state(states["cuda"], self.device)


def _shared(ranks: list[dict[str, Any]]) -> Progress:
    """The progress of several processes dealt out anew to another number of them."""
    world = dist.world_size()
    first = ranks[0]
    return Progress(
        epoch=first["epoch"],
        step=first["step"],
        iteration=first["iteration"],
        samples=sum(one["samples"] for one in ranks) // world,
        failures={uid: reason for one in ranks for uid, reason in one["failures"].items()},
        failed=sum(one["failed"] for one in ranks) // world,
        batch_samples=first["batch_samples"],
    )


def _scaler(model: nn.Module) -> GradScaler:
    """As in the official loop: initial scale 65536, doubled after 2000 good steps."""
    import torch

    return torch.amp.GradScaler(next(model.parameters()).device.type, init_scale=65536.0)
