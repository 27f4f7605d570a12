"""Classes and numbers predicted from videos, by LVU's conventions (specification benchmarks, sections 14 and 15).

Several Samples of one video (clips of it) are united: probabilities are summed, numbers averaged. Rows that name parts
of a video by `span` (own data) are judged part by part, and rows whose labels differ each for themselves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence

import numpy as np

from vidalign.common.record import Record
from vidalign.common.sample import Sample, footage
from vidalign.scoring.intervals import bootstrap_mean, wilson
from vidalign.scoring.match import exactly_one_each


def classification_metrics(records: Sequence[Record], samples: Sequence[Sample]) -> dict[str, float | int]:
    """accuracy with its 95 % interval: share of videos whose largest sum of probabilities is the true class.

    A failed video is wrong, and so is one whose true class is none of the model's (-1). accuracy_per_sample counts
    every Sample for itself. Samples with a hidden class do not count; `scored` of the `samples` do, on `videos` videos.
    """
    by_uid = exactly_one_each(records, samples)
    known = [(by_uid[sample.uid], sample) for sample in samples if _has_class(sample)]
    failed = sum(record.status != "ok" for record in by_uid.values())
    counts = {"samples": len(samples), "scored": len(known), "failed": failed}
    if not known:
        return counts
    alone = [_is_right(record.pred_idx, [record]) for record, _ in known]
    right = [_is_right(_summed(own), own) for own in _by_item(known).values()]
    low, high = wilson(sum(right), len(right))
    return {
        **{"accuracy": sum(right) / len(right), "accuracy_low": low, "accuracy_high": high},
        **{"accuracy_per_sample": sum(alone) / len(alone), "videos": len(right)},
        **counts,
    }


def regression_metrics(records: Sequence[Record], samples: Sequence[Sample]) -> dict[str, float | int]:
    """mse of the mean prediction per video against its number, with its 95 % interval, over all `videos`.

    A video of which a prediction failed is counted as `failed`, and makes mse infinite, without an interval: any finite
    error in its place could be less than the one that the model would have made, and a failure would be a success.
    answered_mse, with its interval, leaves failed videos out. Samples with a hidden number do not count.
    """
    by_uid = exactly_one_each(records, samples)
    known = [(by_uid[sample.uid], sample) for sample in samples if sample.label is not None]
    labels = {_item(sample): sample.label for _, sample in known}
    errors, failed = [], 0
    for name, own in _by_item(known).items():
        if any(record.status != "ok" or record.pred_value is None for record in own):
            failed += 1
            continue
        errors.append((float(np.mean([record.pred_value for record in own])) - labels[name]) ** 2)
    counts = {"videos": len(errors) + failed, "samples": len(samples), "scored": len(known), "failed": failed}
    if not known:
        return counts
    if not errors:
        return {"mse": float("inf"), "answered_mse": float("inf"), **counts}
    low, high = bootstrap_mean(errors)
    answered = {"mse": float(np.mean(errors)), "mse_low": low, "mse_high": high}
    every = {"mse": float("inf")} if failed else answered
    return {**every, **{f"answered_{name}": value for name, value in answered.items()}, **counts}


def over_seeds(values: Sequence[float]) -> dict[str, float]:
    """mean, std (of a sample, 0 for one run), min, max and runs: LVU's tests are tiny, one run says little."""
    table = np.asarray(values, dtype=np.float64)
    spread = float(table.std(ddof=1)) if len(table) > 1 else 0.0
    return {
        "mean": float(table.mean()),
        "std": spread,
        "min": float(table.min()),
        "max": float(table.max()),
        "runs": len(table),
    }


def _has_class(sample: Sample) -> bool:
    return any(value is not None for value in (sample.label, sample.answer_idx, sample.answer))


def _is_right(chosen: int | None, records: Sequence[Record]) -> bool:
    """Whether the class is the true one, which the records of usable videos name."""
    truth = next((record.answer_idx for record in records if record.answer_idx is not None), None)
    usable = any(record.status == "ok" for record in records)
    return usable and chosen is not None and chosen == truth


def _item(sample: Sample) -> Hashable:
    """What is judged as one: a video or a part of it, with one truth, or a question about one."""
    if sample.question:
        return sample.uid
    return footage(sample), sample.label, sample.answer_idx, sample.answer


def _by_item(pairs: Sequence[tuple[Record, Sample]]) -> dict[Hashable, list[Record]]:
    united = defaultdict(list)
    for record, sample in pairs:
        united[_item(sample)].append(record)
    return united


def _summed(records: Sequence[Record]) -> int | None:
    usable = [record for record in records if record.scores is not None]
    if not usable:
        return next((record.pred_idx for record in records if record.pred_idx is not None), None)
    return int(np.sum([record.scores for record in usable], axis=0).argmax())
