"""Predictions of splits with hidden answers -> the file that a benchmark's server takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vidalign.common.errors import ConfigError, unknown
from vidalign.common.record import Record
from vidalign.common.sample import Sample


def answer_index(records: Sequence[Record], samples: Sequence[Sample]) -> dict[str, int]:
    """EgoSchema: {native id: index of the chosen option}. A failed sample is left out; the server counts it missing."""
    native = {sample.uid: sample.uid.split("/", 2)[2] for sample in samples}
    return {native[record.uid]: record.pred_idx for record in records if record.pred_idx is not None}


def qvhighlights(records: Sequence[Record], samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """QVHighlights: one row per query. A failed sample has no windows and zeros."""
    by_uid = {record.uid: record for record in records}
    rows = []
    for sample in samples:
        record = by_uid[sample.uid]
        clips = int((sample.media.duration_seconds or 0) / (sample.clip_len or 2.0))
        rows.append(
            {
                "qid": sample.meta.get("qid"),
                "query": sample.question,
                "vid": sample.media.video_id,
                "pred_relevant_windows": [list(window) for window in record.windows or ()],
                "pred_saliency_scores": list(record.saliency or [0.0] * clips),
            }
        )
    return rows


RULES: Mapping[str, Callable[[Sequence[Record], Sequence[Sample]], Any]] = {
    "answer_index": answer_index,
    "qvhighlights": qvhighlights,
}


def submission(rule: str, records: Sequence[Record], samples: Sequence[Sample]) -> Any:
    """What goes into the file, as JSON values; `rule` is DatasetInfo.submission."""
    if rule not in RULES:
        raise ConfigError(unknown("submission rule", rule, RULES))
    return RULES[rule](records, samples)
