"""Captioning: what the model says of a video, scored against all reference captions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from vidalign.scoring.caption import caption_metrics
from vidalign.tasks.generating import said

if TYPE_CHECKING:
    from torch import nn

    from vidalign.common.record import Record
    from vidalign.common.sample import DatasetInfo, Sample
    from vidalign.tasks.config import CaptioningConfig


class Captioning:
    """Asks a model to `generate` and makes records with pred_text."""

    needs: ClassVar[str] = "generate"
    accepts: ClassVar[tuple[str, ...]] = ("caption",)

    def __init__(self, config: CaptioningConfig) -> None:
        self.config = config

    def predict(self, model: nn.Module, batch: dict[str, Any]) -> list[Record]:
        """One record per sample of the batch, in its order."""
        return said(model, batch, self.config.generation)

    def metrics(
        self, records: Sequence[Record], samples: Sequence[Sample], info: DatasetInfo
    ) -> dict[str, float | int | str]:
        """See scoring/caption.py."""
        return caption_metrics(
            records, samples, info, with_meteor=self.config.meteor, meteor_jar=self.config.meteor_jar
        )
