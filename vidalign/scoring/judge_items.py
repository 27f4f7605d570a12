"""Prediction records as items for a judge, and the judge's metrics of a split."""

from __future__ import annotations

from collections.abc import Sequence

from vidalign.common.record import Record
from vidalign.common.sample import DatasetInfo, Sample
from vidalign.scoring.judge import Item, Judge, judge_metrics
from vidalign.scoring.match import exactly_one_each

# Which protocols judge a file of the Video-ChatGPT benchmark.
ASPECTS = {
    "generic": ("correctness", "detail", "context"),
    "temporal": ("temporal",),
    "consistency": ("consistency",),
}


def judged(judge: Judge, records: Sequence[Record], samples: Sequence[Sample], info: DatasetInfo) -> dict[str, float]:
    """Metrics of every protocol of the split; failed records are left out and counted (skipped_<judge>).

    Kept: accuracy and scores are over what was answered, as published. accuracy_all_<judge> counts as wrong what failed
    and what got no readable verdict.
    """
    by_uid = exactly_one_each(records, samples)
    known = sum(sample.answer is not None for sample in samples)
    metrics: dict[str, float] = {}
    for protocol in protocols(info, samples):
        items = items_of(by_uid, samples, protocol=protocol)
        if items:
            metrics |= judge_metrics(judge.name, judge.judge(items), protocol=protocol, asked=known)
    return metrics | {f"skipped_{judge.name}": sum(record.status != "ok" for record in by_uid.values())}


def protocols(info: DatasetInfo, samples: Sequence[Sample]) -> tuple[str, ...]:
    """The aspects of a Video-ChatGPT file; the question and answer protocol for everything else."""
    split = samples[0].split if samples else ""
    return ASPECTS.get(split, ("open_ended",)) if info.name == "video_chatgpt" else ("open_ended",)


def items_of(by_uid: dict[str, Record], samples: Sequence[Sample], *, protocol: str) -> list[Item]:
    """One item per answered Sample with a known answer; for consistency one per pair."""
    usable = [one for one in samples if one.answer is not None and by_uid[one.uid].status == "ok"]
    if protocol != "consistency":
        return [
            Item(one.uid, {"q": one.question or "", "a": one.answer, "pred": by_uid[one.uid].pred_text or ""}, protocol)
            for one in usable
        ]
    pairs: dict[str, list[Sample]] = {}
    for one in usable:
        pairs.setdefault(str(one.meta.get("pair", one.uid)), []).append(one)
    return [_pair(name, pair, by_uid) for name, pair in pairs.items() if len(pair) == 2]


def _pair(name: str, pair: list[Sample], by_uid: dict[str, Record]) -> Item:
    first, second = pair
    fields = {
        "q1": first.question or "",
        # Kept: the official code shows the first question twice; published scores were made so.
        "q2": first.question or "",
        "a": first.answer or "",
        "pred1": by_uid[first.uid].pred_text or "",
        "pred2": by_uid[second.uid].pred_text or "",
    }
    return Item(name, fields, "consistency")
