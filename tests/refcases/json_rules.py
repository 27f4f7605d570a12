"""The `how` rules for values inside a case's JSON.

The expected tree is walked from the top; every value and every container is decided by the first entry that covers it,
so a container may be skipped while something inside it is compared, and the other way round.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from refcases.case import JSON_PREFIX

Decide = Callable[[str], dict[str, Any] | None]
Note = Callable[[str, float, str | None], None]
MISSING = object()


def compare_json(values: Mapping[str, Any], got: Mapping[str, Any], decide: Decide, note: Note) -> None:
    """Compare every JSON value. `got` may name a value itself (`json:rows/3/indices`) or a container above it."""
    for key, expected in values.items():
        name = f"{JSON_PREFIX}{key}"
        _walk(name, expected, MISSING, got, decide, note)


def _walk(name: str, expected: Any, inherited: Any, got: Mapping[str, Any], decide: Decide, note: Note) -> None:
    entry = decide(name)
    value = got.get(name, inherited)
    how = entry["how"] if entry else None
    if how is None:
        note(name, 0.0, "no entry of `check` covers it")
    elif how == "set":
        note(name, 0.0, _set_verdict(value, expected))
    elif isinstance(expected, dict | list):
        problem = None if how == "skip" else _container_verdict(name, value, expected, decide)
        if problem:
            note(name, 0.0, problem)
        else:
            for key, below in _items(expected):
                _walk(f"{name}/{key}", below, _child(value, expected, key), got, decide, note)
            if not expected and how != "skip":
                note(name, 0.0, None)
    elif how != "skip":
        note(name, *_leaf_verdict(value, expected, entry))


def _items(value: dict[str, Any] | list[Any]) -> list[tuple[Any, Any]]:
    return list(value.items()) if isinstance(value, dict) else list(enumerate(value))


def _child(value: Any, expected: Any, key: Any) -> Any:
    if isinstance(expected, dict):
        return value.get(key, MISSING) if isinstance(value, dict) else MISSING
    return value[key] if isinstance(value, list | tuple) and key < len(value) else MISSING


def _container_verdict(name: str, value: Any, expected: dict[str, Any] | list[Any], decide: Decide) -> str | None:
    """Keys and lengths. A container that is not returned may still have all its values returned one by one."""
    if value is MISSING:
        return None if expected else "not returned by the adapter"
    if isinstance(expected, list):
        if not isinstance(value, list | tuple):
            return f"{_short(value)} is no list"
        return None if len(value) == len(expected) else f"{len(value)} items, expected {len(expected)}"
    if not isinstance(value, dict):
        return f"{_short(value)} is no object"
    surplus = [key for key in value if key not in expected and not _skipped(f"{name}/{key}", decide)]
    return f"surplus keys {sorted(map(str, surplus))}" if surplus else None


def _skipped(name: str, decide: Decide) -> bool:
    entry = decide(name)
    return entry is not None and entry["how"] == "skip"


def _leaf_verdict(value: Any, expected: Any, entry: dict[str, Any]) -> tuple[float, str | None]:
    if value is MISSING:
        return 0.0, "not returned by the adapter"
    if not (_is_number(value) and _is_number(expected)):
        same = type(value) is type(expected) and value == expected
        return 0.0, None if same else f"{_short(value)}, expected {_short(expected)}"
    if value == expected or (math.isnan(value) and math.isnan(expected)):
        return 0.0, None
    error = abs(value - expected)
    finite = math.isfinite(value) and math.isfinite(expected)
    if entry["how"] == "close" and finite and error <= entry["atol"] + entry["rtol"] * abs(expected):
        return error, None
    if entry["how"] not in ("close", "exact"):
        return error, f"rule {entry['how']!r} does not apply to a number"
    return error if finite else math.nan, f"{value!r}, expected {expected!r}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _set_verdict(value: Any, expected: Any) -> str | None:
    if not isinstance(expected, list):
        return "rule 'set' needs a list"
    if value is MISSING:
        return "not returned by the adapter"
    if not isinstance(value, list | tuple | set | frozenset):
        return f"{_short(value)} is no list"
    left, right = sorted(map(_canonical, value)), sorted(map(_canonical, expected))
    if left == right:
        return None
    missing = [item for item in right if item not in left]
    surplus = [item for item in left if item not in right]
    return f"missing {missing[:5]}, surplus {surplus[:5]} ({len(left)} items, expected {len(right)})"


def _canonical(value: Any) -> str:
    if _is_number(value) and value == int(value):
        value = int(value)
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _short(value: Any) -> str:
    text = "nothing" if value is MISSING else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
