"""Moment retrieval and highlights: windows in seconds for a query, and a number per short clip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from vidalign.common.record import Record
from vidalign.scoring.moments import moment_metrics

if TYPE_CHECKING:
    from torch import nn

    from vidalign.common.sample import DatasetInfo, Sample
    from vidalign.tasks.config import MomentsConfig


class Moments:
    """Asks a model for `locate` and makes records with windows and saliency."""

    needs: ClassVar[str] = "locate"

    def __init__(self, config: MomentsConfig) -> None:
        self.config = config

    def predict(self, model: nn.Module, batch: dict[str, Any]) -> list[Record]:
        """One record per sample of the batch, in its order."""
        found = model.locate(batch)
        rows = zip(batch["uid"], found["windows"], found["saliency"], strict=True)
        return [
            Record(uid=uid, windows=tuple(map(tuple, windows)), saliency=tuple(saliency))
            for uid, windows, saliency in rows
        ]

    def metrics(self, records: Sequence[Record], samples: Sequence[Sample], info: DatasetInfo) -> dict[str, float]:
        """See scoring/moments.py."""
        return moment_metrics(records, samples, info)
