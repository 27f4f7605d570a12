"""Open-ended answers of a word or two by exact match, and TGIF-QA's counts by squared error.

Specification benchmarks, section 10. No judge, no normalisation: the text must be one of the references.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from vidalign.common.record import Record
from vidalign.common.sample import DatasetInfo, Sample
from vidalign.scoring.intervals import bootstrap_mean, wilson
from vidalign.scoring.match import exactly_one_each
from vidalign.scoring.multiple_choice import Tally, group_tallies, shares_by_part


def exact_tallies(records: Sequence[Record], samples: Sequence[Sample]) -> dict[str, Tally]:
    """Question type ("" where there is none) -> hits, types in the order in which they first occur.

    A failed record is wrong; a sample without a known answer is not counted.
    """
    by_uid = exactly_one_each(records, samples)
    types: dict[str, Tally] = {}
    for sample in samples:
        references = sample.answers or (() if sample.answer is None else (sample.answer,))
        if references:
            record = by_uid[sample.uid]
            types.setdefault(sample.qtype or "", Tally()).add(record.status == "ok" and record.pred_text in references)
    return types


def exact_match_metrics(
    records: Sequence[Record], samples: Sequence[Sample], info: DatasetInfo, *, taken: Collection[str] = ()
) -> dict[str, float | int]:
    """accuracy with its 95 % interval, accuracy_<type>, accuracy_<group>, samples, scored, failed; fractions.

    taken: names of metrics that will stand beside these, which no type's may have.
    """
    types = exact_tallies(records, samples)
    total = Tally(sum(t.correct for t in types.values()), sum(t.total for t in types.values()))
    metrics: dict[str, float | int] = {}
    if total.total:
        low, high = wilson(total.correct, total.total)
        metrics |= {"accuracy": total.share, "accuracy_low": low, "accuracy_high": high}
    named = {name: tally for name, tally in types.items() if name}
    metrics |= shares_by_part("accuracy", named, group_tallies(types, info.groups), taken=taken)
    failed = sum(record.status != "ok" for record in records)
    return metrics | {"samples": len(samples), "scored": total.total, "failed": failed}


def count_metrics(records: Sequence[Record], samples: Sequence[Sample], info: DatasetInfo) -> dict[str, float | int]:
    """TGIF-QA count: mean squared error of the predicted number, rounded and clipped to 1..10.

    Keys: mse with its 95 % interval, accuracy, samples, scored, failed. A failed record, or a text that is no number,
    counts as the farthest of 1 and 10.
    """
    by_uid = exactly_one_each(records, samples)
    errors = []
    for sample in samples:
        if sample.label is not None:
            number = counted(by_uid[sample.uid])
            farthest = max((1, 10), key=lambda end: abs(end - sample.label))
            errors.append((sample.label - (farthest if number is None else number)) ** 2)
    metrics: dict[str, float | int] = {}
    if errors:
        low, high = bootstrap_mean(errors)
        metrics |= {"mse": sum(errors) / len(errors), "mse_low": low, "mse_high": high}
        metrics["accuracy"] = sum(error == 0 for error in errors) / len(errors)
    failed = sum(record.status != "ok" for record in records)
    return metrics | {"samples": len(samples), "scored": len(errors), "failed": failed}


def counted(record: Record) -> int | None:
    """The number in a record's text, rounded and clipped to 1..10; None where there is none."""
    try:
        number = float(record.pred_text or "")
    except ValueError:
        return None
    if record.status != "ok" or not math.isfinite(number):
        return None
    return round(min(max(number, 1.0), 10.0))
