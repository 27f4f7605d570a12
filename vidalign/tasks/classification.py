"""Classification and regression of whole videos, and answers as classes (ActivityNet-QA, VIOLIN)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from vidalign.common.record import Record
from vidalign.scoring.classification import classification_metrics, regression_metrics

if TYPE_CHECKING:
    from torch import nn

    from vidalign.common.sample import DatasetInfo, Sample
    from vidalign.tasks.config import ClassificationConfig, RegressionConfig


class Classification:
    """Asks a model to `classify`; records hold the class, its true one, and probabilities where there are few."""

    needs: ClassVar[str] = "classify"

    def __init__(self, config: ClassificationConfig) -> None:
        self.config = config

    def predict(self, model: nn.Module, batch: dict[str, Any]) -> list[Record]:
        """One record per sample of the batch, in its order. An answer outside the classes is -1. Probabilities that are
        not numbers, of which argmax would take the first, make a failed record."""
        logits = model.classify(batch).float().cpu()
        shares = logits.softmax(dim=-1)
        keep = shares.shape[1] <= self.config.keep_scores
        records = []
        for row, uid in enumerate(batch["uid"]):
            answer = int(batch["label"][row])
            if not shares[row].isfinite().all():
                reason = "a class's probability is not a finite number"
                records.append(Record(uid=uid, status="failed", reason=reason, answer_idx=answer))
                continue
            scores = tuple(shares[row].tolist()) if keep else None
            records.append(Record(uid=uid, answer_idx=answer, pred_idx=int(logits[row].argmax()), scores=scores))
        return records

    def metrics(self, records: Sequence[Record], samples: Sequence[Sample], info: DatasetInfo) -> dict[str, float]:
        """See scoring/classification.py."""
        return classification_metrics(records, samples)


class Regression:
    """Asks a model to `regress`; records hold the number in the units of the label."""

    needs: ClassVar[str] = "regress"

    def __init__(self, config: RegressionConfig) -> None:
        self.config = config

    def predict(self, model: nn.Module, batch: dict[str, Any]) -> list[Record]:
        """One record per sample of the batch, in its order."""
        values = model.regress(batch).float().cpu().tolist()
        return [Record(uid=uid, pred_value=value) for uid, value in zip(batch["uid"], values, strict=True)]

    def metrics(self, records: Sequence[Record], samples: Sequence[Sample], info: DatasetInfo) -> dict[str, float]:
        """See scoring/classification.py."""
        return regression_metrics(records, samples)
