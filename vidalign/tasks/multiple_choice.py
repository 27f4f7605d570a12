"""Multiple choice: the option with the highest score is the answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from vidalign.common.record import Record
from vidalign.scoring.multiple_choice import multiple_choice_metrics

if TYPE_CHECKING:
    from torch import nn

    from vidalign.common.sample import DatasetInfo, Sample
    from vidalign.tasks.config import MultipleChoiceConfig


class MultipleChoice:
    """Asks a model for `score_options` and makes records with pred_idx, scores and uncertainty."""

    needs: ClassVar[str] = "score_options"
    accepts: ClassVar[tuple[str, ...]] = ("mc_qa",)

    def __init__(self, config: MultipleChoiceConfig) -> None:
        self.config = config

    def predict(self, model: nn.Module, batch: dict[str, Any]) -> list[Record]:
        """One record per sample of the batch, in its order.

        A score that is not a number is chosen, as the official argmin over token losses does, and the record's reason
        says so; JSON has no NaN, so such a record carries no scores.
        """
        result = model.score_options(batch)
        scores = result.scores.float().cpu()
        # Kept: argmax puts NaN first, as the official argmin does with token losses. [golden: eval_loop_star]
        chosen = scores.argmax(dim=1).tolist()
        uncertainty = None if result.uncertainty is None else result.uncertainty.float().cpu()
        answers = batch["answer_idx"].tolist()
        kept = None if result.kept_positions is None else result.kept_positions.tolist()
        counts = batch["num_options"].tolist() if "num_options" in batch else [scores.shape[1]] * len(scores)
        records = []
        for row, uid in enumerate(batch["uid"]):
            own = scores[row, : counts[row]]
            sound = bool(own.isfinite().all())
            records.append(
                Record(
                    uid=uid,
                    reason=None if sound else "an option's score is not a finite number",
                    answer_idx=answers[row] if answers[row] >= 0 else None,
                    pred_idx=chosen[row],
                    scores=tuple(own.tolist()) if sound else None,
                    uncertainty=None if uncertainty is None else _finite(uncertainty[row, chosen[row]].item()),
                    kept_positions=None if kept is None else tuple(kept[row]),
                )
            )
        return records

    def metrics(self, records: Sequence[Record], samples: Sequence[Sample], info: DatasetInfo) -> dict[str, float]:
        """See scoring/multiple_choice.py."""
        return multiple_choice_metrics(records, samples, info)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
