"""Multiple-choice numbers as the official evaluators print them: percentages with two decimals.

NExT-QA: eval_mc.py of the authors. STAR: the challenge's mean of the four types, and the micro average that BoViLA and
LLaMA-VQA call Total. Specification benchmarks, sections 1, 2, 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vidalign.common.record import Record
from vidalign.common.sample import Sample
from vidalign.scoring.match import exactly_one_each
from vidalign.scoring.multiple_choice import Tally

# Kept: TP is counted as TN.
_NEXTQA = {
    "Why": ("CW",),
    "How": ("CH",),
    "Bef&Aft": ("TN", "TP"),
    "When": ("TC",),
    "Cnt": ("DC",),
    "Loc": ("DL",),
    "Other": ("DO",),
    "Acc_C": ("CW", "CH"),
    "Acc_T": ("TN", "TP", "TC"),
    "Acc_D": ("DC", "DL", "DO"),
}
_STAR = ("Interaction", "Sequence", "Prediction", "Feasibility")


def nextqa(records: Sequence[Record], samples: Sequence[Sample]) -> dict[str, float | None]:
    """The eleven numbers of eval_mc.py; None where a type does not occur."""
    types = _by_type(records, samples)
    numbers = {name: _percent(_sum(types, members)) for name, members in _NEXTQA.items()}
    return numbers | {"Acc": _percent(_sum(types, types))}


def star(records: Sequence[Record], samples: Sequence[Sample]) -> dict[str, float | None]:
    """The four types, "Mean" (macro: the challenge, SeViLA, ViLA) and "Total" (micro: LLaMA-VQA, BoViLA, TOPA)."""
    types = _by_type(records, samples)
    there = [types[name] for name in _STAR if name in types]
    mean = sum(tally.share for tally in there) / len(there) if there else float("nan")
    numbers: dict[str, float | None] = {name: _percent(types.get(name, Tally())) for name in _STAR}
    return numbers | {"Mean": round(100 * mean, 2) if there else None, "Total": _percent(_sum(types, types))}


def accuracy(records: Sequence[Record], samples: Sequence[Sample]) -> dict[str, float | int | None]:
    """Plain accuracy: {"accuracy_percent", "n"}."""
    types = _by_type(records, samples)
    total = _sum(types, types)
    return {"accuracy_percent": _percent(total), "n": total.total}


def _by_type(records: Sequence[Record], samples: Sequence[Sample]) -> dict[str, Tally]:
    by_uid = exactly_one_each(records, samples)
    types: dict[str, Tally] = {}
    for sample in samples:
        if sample.answer_idx is not None:
            record = by_uid[sample.uid]
            right = record.status == "ok" and record.pred_idx == sample.answer_idx
            types.setdefault(sample.qtype or "", Tally()).add(right)
    return types


def _sum(types: Mapping[str, Tally], members: Sequence[str] | Mapping[str, Tally]) -> Tally:
    there = [types[name] for name in members if name in types]
    return Tally(sum(tally.correct for tally in there), sum(tally.total for tally in there))


def _percent(tally: Tally) -> float | None:
    return float(f"{tally.correct * 100.0 / tally.total:.2f}") if tally.total else None
