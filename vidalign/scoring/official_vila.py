"""Scores as the runners of ViLA and SeViLA print them (specification vila, section 6.2); ours stand beside them in
scoring/multiple_choice.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

STAR_TYPES = ("Interaction", "Sequence", "Prediction", "Feasibility")


def result_rows(
    answers: Sequence[str], qids: Sequence[str], predictions: Sequence[int], frames: Sequence[Any] | None = None
) -> list[dict[str, Any]]:
    """Rows of the official result file; answers like "Option C". frames: indices of those kept, 0 where unknown."""
    kept = frames if frames is not None else [0] * len(answers)
    rows = zip(qids, predictions, answers, kept, strict=True)
    return [
        {"qid": qid, "prediction": prediction, "target": "ABCDE".index(answer[-1]), "frame_idx": frame}
        for qid, prediction, answer, frame in rows
    ]


def video_qa_metrics(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """agg_metrics (a fraction), total, and a percentage per type, which is the qid's beginning up to the first "_".

    Kept: with all four of STAR's types agg_metrics is their mean, in percent. Changed: a type without a right answer
    has 0; the official code ends with an error. [metrics]
    """
    types: dict[str, list[bool]] = {}
    for row in rows:
        types.setdefault(row["qid"].split("_")[0], []).append(row["prediction"] == row["target"])
    shares = {name: sum(right) / len(right) * 100 for name, right in types.items()}
    total = len(rows)
    overall = sum(map(sum, types.values())) / total
    if set(STAR_TYPES) <= shares.keys():
        overall = sum(shares[name] for name in STAR_TYPES) / len(STAR_TYPES)
    return {"agg_metrics": overall, "total": total, **shares}


def frame_metrics(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Share of frames whose yes or no is right: what the official code calls moment retrieval."""
    right = sum(row["prediction"] == row["target"] for row in rows)
    return {"agg_metrics": right / len(rows), "total": len(rows)}
