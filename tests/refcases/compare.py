"""Compare what an adapter returned with a case, following the case's own `check` list.

The rules (first matching entry decides; exact, close, cosine, set, skip) are those of the reference README.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from refcases.case import JSON_PREFIX, Case, LeftOut
from refcases.json_rules import compare_json
from refcases.tensor_rules import compare_tensors


@dataclass
class Comparison:
    """How one case came out. `error` is the largest absolute difference among the numbers that were compared.

    `left_out`: name -> why this value was not computed here; it is neither right nor wrong.
    """

    failures: list[str] = field(default_factory=list)
    compared: int = 0
    error: float = 0.0
    error_name: str = ""
    left_out: dict[str, str] = field(default_factory=dict)

    def note(self, name: str, error: float, message: str | None) -> None:
        """Book one compared name; `message` tells what is wrong, None that it agrees."""
        self.compared += 1
        if error > self.error or error != error:
            self.error, self.error_name = error, name
        if message is not None:
            self.failures.append(f"{name}: {message}")


def entry_for(name: str, check: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The first entry that covers `name`. A `json:` pattern covers its value and everything below it."""
    ways = [name]
    if name.startswith(JSON_PREFIX):
        parts = name.split("/")
        ways = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    for entry in check:
        is_json = entry["match"].startswith(JSON_PREFIX)
        if is_json == name.startswith(JSON_PREFIX) and any(fnmatchcase(way, entry["match"]) for way in ways):
            return entry
    return None


def has_work(case: Case) -> bool:
    """False for cases that only lend their tensors or settings to others."""
    return any(entry["how"] != "skip" for entry in case.json["check"])


def compare(case: Case, got: Mapping[str, Any]) -> Comparison:
    """Hold `got` (name -> tensor, number, or JSON value) against everything the case's `check` covers."""
    check = case.json["check"]
    left_out = {name: str(value) for name, value in got.items() if isinstance(value, LeftOut)}
    result = Comparison(left_out=left_out)
    check = [*({"match": name, "how": "skip"} for name in left_out), *check]
    for name in case.expected_tensors:
        entry = entry_for(name, check)
        if entry is None:
            result.note(name, 0.0, "no entry of `check` covers it")
        elif entry["how"] == "skip":
            continue
        elif name not in got:
            result.note(name, 0.0, "not returned by the adapter")
        else:
            result.note(name, *compare_tensors(got[name], case.tensor(name), entry))
    described = {key: value for key, value in case.json.items() if key != "check"}
    compare_json(described, got, lambda name: entry_for(name, check), result.note)
    return result
