"""Prediction record: what a run says about one Sample. Metrics read only records and samples.

Nothing that varies between equal runs is stored here (timing goes to metrics.jsonl).
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from vidalign.common.io import json_line


@dataclass(frozen=True, kw_only=True)
class Record:
    """One line of predictions/<dataset>/<split>.jsonl.

    `status` is "ok" or "failed" (then `reason` says why and the Sample counts as wrong); an "ok" record may carry a
    `reason` too when the media were usable but unusual. `scores` has one number per option, higher is better.
    `windows` are (start, end, score) in seconds, best first; `saliency` has one number per short clip.
    `kept_frames` is a list of {"index": frame index, "seconds": time}. `kept_positions`, where a task sets it, says
    which of the media's frames these are; it is not written.
    """

    uid: str
    status: str = "ok"
    reason: str | None = None
    answer_idx: int | None = None
    pred_idx: int | None = None
    scores: tuple[float, ...] | None = None
    uncertainty: float | None = None
    pred_text: str | None = None
    pred_value: float | None = None
    windows: tuple[tuple[float, float, float], ...] | None = None
    saliency: tuple[float, ...] | None = None
    embedding_row: int | None = None
    kept_frames: tuple[dict[str, float], ...] | None = None
    kept_positions: tuple[int, ...] | None = None

    def to_json(self) -> str:
        """One line; fields that are None are left out, key order is fixed."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "kept_positions"}
        return json_line({k: v for k, v in values.items() if v is not None})

    @classmethod
    def from_json(cls, line: str) -> Record:
        """Read one line back."""
        values: dict[str, Any] = json.loads(line)
        for name in ("scores", "saliency", "kept_frames"):
            if name in values:
                values[name] = tuple(values[name])
        if "windows" in values:
            values["windows"] = tuple(tuple(window) for window in values["windows"])
        return cls(**values)
