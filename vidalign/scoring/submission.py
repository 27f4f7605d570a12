"""Predictions of splits with hidden answers -> the file that a benchmark's server takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vidalign.common.errors import ConfigError, unknown
from vidalign.common.io import atomic_write, json_line, write_json
from vidalign.common.record import Record
from vidalign.common.sample import Sample, native_id


def answer_index(records: Sequence[Record], samples: Sequence[Sample]) -> dict[str, int]:
    """TVQA, EgoSchema: {native id: index of the chosen option}. A failed sample is left out and counts as missing."""
    native = {sample.uid: native_id(sample.uid) for sample in samples}
    usable = (record for record in records if record.status == "ok" and record.pred_idx is not None)
    return {native[record.uid]: record.pred_idx for record in usable}


def qvhighlights(records: Sequence[Record], samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """QVHighlights: one row per query. A failed sample has zeros, and a window of no length: without any window the
    official evaluator breaks off."""
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
                "pred_relevant_windows": [list(window) for window in record.windows or (NOTHING,)],
                "pred_saliency_scores": list(record.saliency or [0.0] * clips),
            }
        )
    return rows


def vlep(records: Sequence[Record], samples: Sequence[Sample]) -> list[dict[str, int]]:
    """VLEP: lines {"example_id", "pred_ans"}."""
    pairs = answer_index(records, samples).items()
    return [{"example_id": int(id_) if id_.isdigit() else id_, "pred_ans": index} for id_, index in pairs]


def star(records: Sequence[Record], samples: Sequence[Sample]) -> dict[str, list[dict[str, Any]]]:
    """STAR: {category: [{"question_id", "answer": index}]}."""
    categories: dict[str, list[dict[str, Any]]] = {sample.qtype or "": [] for sample in samples}
    for native, index in answer_index(records, samples).items():
        categories[native.partition("_")[0]].append({"question_id": native, "answer": index})
    return categories


NOTHING = (0.0, 0.0, 0.0)  # a window that overlaps nothing
RULES: Mapping[str, Callable[[Sequence[Record], Sequence[Sample]], Any]] = {
    "answer_index": answer_index,
    "egoschema": answer_index,
    "qvhighlights": qvhighlights,
    "vlep": vlep,
    "star": star,
}
# The rules whose servers want one JSON object per line, and the file names that they want.
LINES = ("qvhighlights", "vlep")
NAMES: Mapping[str, str] = {"qvhighlights": "hl_{split}_submission.jsonl", "vlep": "vlep_{split}_submission.jsonl"}


def submission(rule: str, records: Sequence[Record], samples: Sequence[Sample]) -> Any:
    """What goes into the file, as JSON values; `rule` is DatasetInfo.submission."""
    if rule not in RULES:
        raise ConfigError(unknown("submission rule", rule, RULES))
    return RULES[rule](records, samples)


def write_submission(
    rule: str, records: Sequence[Record], samples: Sequence[Sample], *, folder: Path, split: str
) -> Path:
    """Write the file that the benchmark's server takes, under the name it wants; returns its path.

    EgoSchema has two servers: the validation service takes the json, the Kaggle competition the csv beside it.
    """
    content = submission(rule, records, samples)
    named = "dev" if rule == "vlep" and split == "val" else split
    path = folder / NAMES.get(rule, "{split}_submission.json").format(split=named)
    if rule in LINES:
        with atomic_write(path) as file:
            file.writelines(json_line(row) + "\n" for row in content)
    else:
        write_json(path, content)
    if rule == "egoschema":
        with atomic_write(path.with_suffix(".csv")) as file:
            file.writelines(["q_uid,answer\n", *(f"{native},{index}\n" for native, index in content.items())])
    return path
