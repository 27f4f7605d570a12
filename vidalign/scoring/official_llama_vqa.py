"""The meters and result rows that the official BoViLA / Flipped-VQA evaluation loop prints and writes.

For comparison with published logs and the reference data; metrics.json comes from scoring/multiple_choice.py.
Source: spec bovila, section 6. [golden: eval_loop_star]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

LETTERS = "ABCDEFGH"
# Integer question types of the official loaders, from 1.
STAR_TYPES = ("In", "Seq", "Pre", "Feas")
NEXTQA_TYPES = ("CH", "CW", "TN", "TC", "TP", "DL", "DC", "DO")
METERS = {
    "star": {name: (index,) for index, name in enumerate(STAR_TYPES, start=1)} | {"Total": (1, 2, 3, 4)},
    "nextqa": {"C": (1, 2), "T": (3, 4, 5), "D": (6, 7, 8), "Total": (1, 2, 3, 4, 5, 6, 7, 8)},
}
NOTHING = 1e-10


def predictions(scores: Tensor) -> Tensor:
    """(B, O) mean token losses -> (B,) option with the lowest. Kept: a NaN is chosen, as torch.argmin does."""
    return scores.argmin(dim=-1)


class OfficialMeters:
    """Weighted running averages over batches, as printed by the official loop of one process."""

    def __init__(self, dataset: str) -> None:
        self.types = METERS.get(dataset, {})
        self.sums: dict[str, float] = {}
        self.weights: dict[str, float] = {}

    def update(self, predicted: Tensor, answers: Tensor, qtypes: Tensor | None = None) -> None:
        """One batch: chosen options, true options and integer types, each (B,)."""
        right = (predicted == answers).double()
        if qtypes is not None:
            for name, members in self.types.items():
                mask = sum((qtypes == member).double() for member in members)
                count = float(mask.sum())
                # Kept: weight count + 1e-10, so that a batch without this type does not divide by zero.
                self._add(name, float((right * mask).sum()) / max(count, 1.0), count + NOTHING)
        self._add("acc", float(right.mean()), float(len(right)))

    def averages(self) -> dict[str, float]:
        """Name -> average. Kept: the summed weights are cut to whole numbers; a type that never occurs is NaN here
        (the official loop divides by zero)."""
        return {n: self.sums[n] / int(self.weights[n]) if int(self.weights[n]) else float("nan") for n in self.sums}

    def _add(self, name: str, value: float, weight: float) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + value * weight
        self.weights[name] = self.weights.get(name, 0.0) + weight


def result_rows(
    *,
    videos: Sequence[str],
    question_ids: Sequence[int],
    qtypes: Sequence[int],
    predicted: Sequence[int],
    answers: Sequence[int],
    uncertainty: Sequence[float],
) -> list[dict[str, Any]]:
    """Rows {vid, qid, qtype, pre, ans, u} of epoch<e>.json, equal rows once, in order of first appearance.

    Kept: the type's text comes from the NExT-QA list whatever the benchmark. `uncertainty` is the chosen option's.
    """
    columns = zip(videos, question_ids, qtypes, predicted, answers, uncertainty, strict=True)
    rows = [
        {"vid": v, "qid": q, "qtype": NEXTQA_TYPES[t - 1], "pre": LETTERS[p], "ans": LETTERS[a], "u": u}
        for v, q, t, p, a, u in columns
    ]
    return unique(rows)


def unique(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows without exact repetitions, first ones kept."""
    seen = {tuple(sorted(row.items())): row for row in reversed(rows)}
    return [dict(row) for row in rows if seen.pop(tuple(sorted(row.items())), None) is not None]
