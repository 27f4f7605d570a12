"""Classes and numbers predicted from videos, by LVU's conventions (specification benchmarks, sections 14 and 15).

Several Samples of one video (clips of it) are united: probabilities are summed, numbers averaged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from vidalign.common.record import Record
from vidalign.common.sample import Sample


def classification_metrics(records: Sequence[Record], samples: Sequence[Sample]) -> dict[str, float]:
    """accuracy: share of videos whose largest sum of probabilities is the true class; failed ones are wrong.

    accuracy_per_sample counts every Sample for itself. Samples with a hidden class do not count.
    """
    known = [(record, sample) for record, sample in zip(records, samples, strict=True) if record.answer_idx is not None]
    if not known:
        return {"accuracy": 0.0, "samples": 0}
    alone = [record.pred_idx == record.answer_idx for record, _ in known]
    right = [_summed(own) == own[0].answer_idx for own in _by_item(known).values()]
    return {
        "accuracy": float(np.mean(right)),
        "accuracy_per_sample": float(np.mean(alone)),
        "videos": len(right),
        "samples": len(known),
    }


def regression_metrics(records: Sequence[Record], samples: Sequence[Sample]) -> dict[str, float]:
    """mse of the mean prediction per video against its number; a video without any prediction is counted as `failed`
    and left out, since no number can stand for it."""
    known = [(record, sample) for record, sample in zip(records, samples, strict=True) if sample.label is not None]
    labels = {_item(sample): sample.label for _, sample in known}
    errors, failed = [], 0
    for name, own in _by_item(known).items():
        values = [record.pred_value for record in own if record.pred_value is not None]
        failed += not values
        errors += [(float(np.mean(values)) - labels[name]) ** 2] if values else []
    return {
        "mse": float(np.mean(errors)) if errors else float("inf"),
        "videos": len(errors),
        "failed": failed,
    }


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


def _item(sample: Sample) -> tuple[str, str]:
    """What is judged as one: a video, with the question where there is one."""
    return (sample.media.video_id if sample.media else sample.uid, sample.question or "")


def _by_item(pairs: Sequence[tuple[Record, Sample]]) -> dict[tuple[str, str], list[Record]]:
    united = defaultdict(list)
    for record, sample in pairs:
        united[_item(sample)].append(record)
    return united


def _summed(records: Sequence[Record]) -> int | None:
    usable = [record for record in records if record.scores is not None]
    if not usable:
        return next((record.pred_idx for record in records if record.pred_idx is not None), None)
    return int(np.sum([record.scores for record in usable], axis=0).argmax())
