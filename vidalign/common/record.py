"""Prediction record: what a run says about one Sample. Metrics read only records and samples.

Nothing that varies between equal runs is stored here (timing goes to metrics.jsonl).
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vidalign.common.errors import unknown
from vidalign.common.io import json_line

STATUSES = ("ok", "failed")


@dataclass(frozen=True, kw_only=True)
class Record:
    """One line of predictions/<dataset>/<split>.jsonl.

    `status` is "ok" or "failed" (then `reason` says why and the Sample counts as wrong); an "ok" record may carry a
    `reason` too when the media were usable but unusual. `scores` has one number per option, higher is better.
    `windows` are (start, end, score) in seconds, best first; `saliency` has one number per short clip.
    `kept_frames` is a list of {"index": frame index, "seconds": time}. `kept_positions`, where a task sets it, says
    which of the media's frames these are; it is not written. Every number of a record on disk is finite
    (`finite_or_failed`).
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
        """One line; fields that are None are left out, key order is fixed. ValueError for NaN and infinity."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "kept_positions"}
        return json_line({k: v for k, v in values.items() if v is not None}, allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> Record:
        """Read one line back; ValueError for anything that is no record."""
        return cls.from_dict(json.loads(line))

    @classmethod
    def from_dict(cls, row: Any) -> Record:
        """A parsed line as a record; null is as good as left out.

        ValueError names an unknown field, a value of the wrong type (unequal to everything), and NaN or infinity,
        which JSON has not.
        """
        if not isinstance(row, Mapping):
            raise ValueError(f"{row!r:.60} is no record; write an object with the key uid")
        values: dict[str, Any] = {}
        for name, value in row.items():
            if name not in _FIELDS:
                raise ValueError(unknown("field", name, _FIELDS))
            wanted, fits, made = _FIELDS[name]
            if value is None and name != "uid":
                continue
            if not fits(value):
                raise ValueError(f"{name} {value!r:.60}: write {wanted}")
            values[name] = made(value)
        if "uid" not in values:
            raise ValueError("no uid; every record names its sample by it")
        record = cls(**values)
        name = _not_finite(record)
        if name is not None:
            raise ValueError(
                f"{record.uid}: `{name}` holds NaN or infinity; such a prediction is written as a failed record: "
                '"status": "failed" and a "reason", without that field'
            )
        return record


def finite_or_failed(record: Record) -> Record:
    """The record itself; where one of its numbers is not finite, a failed one that says which: no comparison with NaN
    means anything, and an argmax takes it for the best."""
    name = _not_finite(record)
    if name is None:
        return record
    reason = f"the prediction is not finite: `{name}` holds NaN or infinity"
    return Record(uid=record.uid, status="failed", reason=reason, answer_idx=record.answer_idx)


def _not_finite(record: Record) -> str | None:
    """The first field with a number that is not finite."""
    fields = (f.name for f in dataclasses.fields(record))
    return next((name for name in fields if not all(map(math.isfinite, _floats(getattr(record, name))))), None)


def _floats(value: Any) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, tuple | list | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _floats(one)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return _is_number(value) and (isinstance(value, int) or value.is_integer())


def _list_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_window(value: Any) -> bool:
    return _list_of(_is_number)(value) and len(value) == 3


def _windows(value: list[list[float]]) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, value))


# What a value must be, how that is told, and how it is kept.
_TEXT = ("a text", _is_text, str)
_WHOLE = ("a whole number", _is_whole, int)
_NUMBER = ("a number", _is_number, lambda value: value)
_NUMBERS = ("a list of numbers", _list_of(_is_number), tuple)
_FIELDS: Mapping[str, tuple[str, Callable[[Any], bool], Callable[[Any], Any]]] = {
    "uid": ("a text like vlep/val/7", _is_text, str),
    "status": (" or ".join(STATUSES), STATUSES.__contains__, str),
    "reason": _TEXT,
    "answer_idx": _WHOLE,
    "pred_idx": _WHOLE,
    "scores": _NUMBERS,
    "uncertainty": _NUMBER,
    "pred_text": _TEXT,
    "pred_value": _NUMBER,
    "windows": ("a list of [start, end, score]", _list_of(_is_window), _windows),
    "saliency": _NUMBERS,
    "embedding_row": _WHOLE,
    "kept_frames": ("a list of objects", _list_of(lambda value: isinstance(value, dict)), tuple),
}
