"""Run cases through the adapters and tell how they came out."""

from __future__ import annotations

import importlib
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from refcases.case import Case, SkipCase
from refcases.compare import compare, has_work

STATES = ("PASS", "FAIL", "SKIP", "TODO")
SEED = 1
ADAPTERS = Path(__file__).resolve().parents[1] / "adapters"
Adapter = Callable[[Case], Mapping[str, Any]]


@dataclass
class Outcome:
    """One line of the report. `lines`: what is wrong, most telling first (a traceback stands upside down)."""

    case: Case
    state: str
    detail: str = ""
    seconds: float = 0.0
    lines: list[str] = field(default_factory=list)


def adapters_of(system: str) -> dict[str, Adapter]:
    """kind -> function of tests/adapters/<system>.py; empty when there is no such file."""
    if not (ADAPTERS / f"{system}.py").is_file():
        return {}
    return importlib.import_module(f"adapters.{system}").KINDS


def run_case(case: Case) -> Outcome:
    """Run one case. An exception of the adapter or the package is a FAIL with its traceback."""
    if not has_work(case):
        return Outcome(case, "SKIP", "nothing to compare: input of other cases")
    adapter = adapters_of(case.system).get(case.kind)
    if adapter is None:
        return Outcome(case, "TODO", f"no adapter for kind {case.kind!r} of {case.system}")
    start = time.perf_counter()
    # A few cases describe freshly drawn weights by their spread: always the same draw, whatever ran before.
    torch.manual_seed(SEED)
    try:
        result = compare(case, adapter(case))
    except SkipCase as reason:
        return Outcome(case, "SKIP", str(reason), time.perf_counter() - start)
    except Exception as error:
        # Any error of the code under test belongs to this case; the others still run.
        detail = f"{type(error).__name__}: {error}".splitlines()[0]
        lines = traceback.format_exc().splitlines()[::-1]
        return Outcome(case, "FAIL", detail, time.perf_counter() - start, lines)
    seconds = time.perf_counter() - start
    detail = f"{result.compared} values, largest error {result.error:.3g}"
    detail += f" ({result.error_name})" if result.error_name else ""
    detail += "".join(f"; {name} left out: {why}" for name, why in result.left_out.items())
    if not result.compared:
        return Outcome(case, "FAIL", "`check` covers nothing that the case holds", seconds)
    return Outcome(case, "FAIL" if result.failures else "PASS", detail, seconds, result.failures)
