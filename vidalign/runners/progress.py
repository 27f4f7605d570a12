"""What the training loop is told, where it stands, and who listens to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """The part of RunConfig that the loop itself needs; the names are the same."""

    max_epochs: int = 1
    max_steps: int | None = None
    accumulate: int = 1
    accumulation: str = "mean"
    clip_grad_norm: float | None = None
    loss_norm: str = "official"
    log_every_steps: int = 10
    max_failed_share: float = 0.05


@dataclass
class Progress:
    """Where a run stands. `epoch` is the current one (0-based); `step` counts optimizer steps, `iteration` the consumed
    micro-batches of this epoch, both over one process. `failures`: uid -> reason; `failed`: how many samples of this
    epoch failed here; `batch_samples`: the largest micro-batch met in it."""

    epoch: int = 0
    step: int = 0
    iteration: int = 0
    samples: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    failed: int = 0
    batch_samples: int = 0


class Callback(Protocol):
    """What may follow the loop. Every process calls them; who writes files asks dist.is_main()."""

    def on_step(self, progress: Progress) -> None:
        """After each optimizer step, and after its line where one is due."""
        ...

    def on_line(self, progress: Progress, values: dict[str, float]) -> None:
        """Every `log_every_steps` steps: averages since the last line."""
        ...

    def on_epoch(self, progress: Progress, values: dict[str, float]) -> None:
        """After each epoch: its averages."""
        ...
