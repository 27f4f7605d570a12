"""Open-ended questions: the model answers in its own words, compared with the reference answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from vidalign.scoring.judge_items import judged
from vidalign.scoring.open_ended import open_ended_metrics
from vidalign.tasks.generating import said

if TYPE_CHECKING:
    from torch import nn

    from vidalign.common.record import Record
    from vidalign.common.sample import DatasetInfo, Sample
    from vidalign.scoring.judge import Judge
    from vidalign.tasks.config import OpenEndedConfig


class OpenEnded:
    """Asks a model to `generate` and makes records with pred_text. `judge`: a plug-in that the runner builds."""

    needs: ClassVar[str] = "generate"
    headline: ClassVar[str] = "contained_match"  # where the dataset's own belongs to another task

    def __init__(self, config: OpenEndedConfig) -> None:
        self.config = config
        self.judge: Judge | None = None

    def predict(self, model: nn.Module, batch: dict[str, Any]) -> list[Record]:
        """One record per sample of the batch, in its order."""
        return said(model, batch, self.config.generation)

    def metrics(
        self, records: Sequence[Record], samples: Sequence[Sample], info: DatasetInfo
    ) -> dict[str, float | int | str]:
        """See scoring/open_ended.py; with a judge also its own, which carry its name (scoring/judge_items.py)."""
        metrics = open_ended_metrics(records, samples, info)
        return metrics | (judged(self.judge, records, samples, info) if self.judge is not None else {})
