"""MVBench's own way of multiple choice: the model writes the letter of an option."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from vidalign.scoring.mvbench import mvbench_metrics
from vidalign.tasks.generating import said

if TYPE_CHECKING:
    from torch import nn

    from vidalign.common.record import Record
    from vidalign.common.sample import DatasetInfo, Sample
    from vidalign.tasks.config import MVBenchConfig


class MVBench:
    """Asks a model to `generate` and makes records with pred_text; which option that is, scoring decides."""

    needs: ClassVar[str] = "generate"
    accepts: ClassVar[tuple[str, ...]] = ("mc_qa",)

    def __init__(self, config: MVBenchConfig) -> None:
        self.config = config

    def predict(self, model: nn.Module, batch: dict[str, Any]) -> list[Record]:
        """One record per sample of the batch, in its order."""
        return said(model, batch, self.config.generation)

    def metrics(
        self, records: Sequence[Record], samples: Sequence[Sample], info: DatasetInfo
    ) -> dict[str, float | int]:
        """See scoring/mvbench.py."""
        return mvbench_metrics(records, samples, info)
