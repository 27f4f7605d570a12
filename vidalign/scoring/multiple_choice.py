"""Multiple-choice metrics from records and samples: micro, per type, per group, macro. No model is needed.

Micro = correct / questions; macro = mean over groups (over types where a benchmark declares no groups). Fractions, not
percentages. A failed record counts as wrong; a sample without a known answer is not scored.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from vidalign.common.record import Record
from vidalign.common.sample import DatasetInfo, Sample
from vidalign.scoring.intervals import macro, wilson
from vidalign.scoring.match import exactly_one_each
from vidalign.scoring.part_names import by_part


@dataclass
class Tally:
    """Right answers among counted ones."""

    correct: int = 0
    total: int = 0

    def add(self, right: bool) -> None:
        """Count one answer."""
        self.correct += right
        self.total += 1

    @property
    def share(self) -> float:
        """correct / total; NaN when nothing was counted."""
        return self.correct / self.total if self.total else float("nan")


def multiple_choice_metrics(
    records: Sequence[Record], samples: Sequence[Sample], info: DatasetInfo
) -> dict[str, float | int]:
    """Metrics of one split; exactly one record per sample, in any order, or DataError.

    Keys: accuracy (micro), accuracy_low, accuracy_high (95 %), accuracy_<type>, accuracy_<group> (part_names.py tells
    what those with a reserved name are called), accuracy_macro with its _low and _high (only with types), samples,
    scored, failed; kept_<type>, kept_<group> where samples have windows: the share of which a kept frame lies in one of
    them.
    """
    by_uid = exactly_one_each(records, samples)
    overall, types, kept = Tally(), defaultdict(Tally), defaultdict(Tally)
    for sample in samples:
        if sample.answer_idx is None:
            continue
        record = by_uid[sample.uid]
        right = record.status == "ok" and record.pred_idx == sample.answer_idx
        overall.add(right)
        if sample.qtype is not None:
            types[sample.qtype].add(right)
            if sample.windows:
                kept[sample.qtype].add(_kept_a_window(record, sample))

    metrics: dict[str, float | int] = {}
    if overall.total:
        low, high = wilson(overall.correct, overall.total)
        metrics |= {"accuracy": overall.share, "accuracy_low": low, "accuracy_high": high}
    if types:
        grouped = group_tallies(types, info.groups)
        metrics |= shares_by_part("accuracy", types, grouped)
        parts = list((grouped or types).values())
        low, high = macro([(tally.correct, tally.total) for tally in parts])
        metrics |= {"accuracy_macro": sum(tally.share for tally in parts) / len(parts)}
        metrics |= {"accuracy_macro_low": low, "accuracy_macro_high": high}
    metrics |= shares_by_part("kept", kept, dict(sorted(group_tallies(kept, info.groups).items())))
    failed = sum(record.status != "ok" for record in by_uid.values())
    return metrics | {"samples": len(samples), "scored": overall.total, "failed": failed}


def _kept_a_window(record: Record, sample: Sample) -> bool:
    seconds = [frame["seconds"] for frame in record.kept_frames or ()]
    return any(start <= at <= end for at in seconds for start, end in sample.windows)


def shares_by_part(
    metric: str, types: Mapping[str, Tally], groups: Mapping[str, Tally], *, taken: Collection[str] = ()
) -> dict[str, float]:
    """Shares of the types in alphabetical order, then of the groups, named by part_names.py."""
    shares = by_part(metric, {name: types[name].share for name in sorted(types)}, kind="type", taken=taken)
    of_groups = {name: tally.share for name, tally in groups.items()}
    return shares | by_part(metric, of_groups, kind="group", taken={*taken, *shares})


def group_tallies(types: Mapping[str, Tally], groups: Mapping[str, Sequence[str]]) -> dict[str, Tally]:
    """Tallies of the groups that occur: micro inside a group, as the official NExT-QA evaluator does."""
    sums = {}
    for name, members in groups.items():
        present = [types[member] for member in members if member in types]
        if present:
            sums[name] = Tally(sum(t.correct for t in present), sum(t.total for t in present))
    return sums
