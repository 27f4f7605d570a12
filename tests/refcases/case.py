"""A reference case: one JSON (settings, expected values, `check`), with one safetensors file where there are tensors.

Layout and meaning of every field: the README beside the reference data. Nothing here knows a case by its name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

JSON_PREFIX = "json:"
GOLDEN = Path(__file__).resolve().parents[1] / "golden"
EXPECTED_PREFIXES = ("out/", "grad/")


class SkipCase(Exception):
    """Raised by an adapter for a case that cannot run here; its text is the reason that is shown."""


class LeftOut(str):
    """Returned by an adapter in place of a value that cannot be computed here; the text is the reason that is shown."""


class Case:
    """One case on disk. Tensors are read when asked for."""

    def __init__(self, path: Path, values: dict[str, Any] | None = None) -> None:
        self.path = Path(path)
        self.json: dict[str, Any] = values if values is not None else json.loads(self.path.read_text(encoding="utf-8"))

    def __repr__(self) -> str:
        return f"Case({self.label})"

    @property
    def system(self) -> str:
        """Which published system the numbers come from."""
        return self.json["system"]

    @property
    def kind(self) -> str:
        """What is computed; adapters have one function per kind."""
        return self.json["kind"]

    @property
    def label(self) -> str:
        """`system/file stem`, for people."""
        return f"{self.system}/{self.path.stem}"

    @property
    def folder(self) -> Path:
        """Where the files the case refers to lie."""
        return self.path.parent

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of all stored tensors, sorted."""
        if not self._tensor_path.exists():
            return ()
        with safe_open(self._tensor_path, "pt") as file:
            return tuple(sorted(file.keys()))

    @property
    def expected_tensors(self) -> tuple[str, ...]:
        """Names of the tensors a run has to produce."""
        return tuple(name for name in self.names if name.startswith(EXPECTED_PREFIXES))

    def tensor(self, name: str) -> Tensor:
        """One stored tensor by its full name."""
        with safe_open(self._tensor_path, "pt") as file:
            return file.get_tensor(name)

    def group(self, prefix: str) -> dict[str, Tensor]:
        """All tensors below `prefix/`, keyed by the rest of their name."""
        if not self._tensor_path.exists():
            return {}
        with safe_open(self._tensor_path, "pt") as file:
            names = [name for name in file.keys() if name.startswith(f"{prefix}/")]  # noqa: SIM118
            return {name.removeprefix(f"{prefix}/"): file.get_tensor(name) for name in names}

    def numbered(self, part: str) -> list[Tensor]:
        """All tensors whose name holds `part`, in natural order: numbers in names count as numbers (2 before 10)."""

        def order(name: str) -> list[tuple[int, str]]:
            return [(int(piece), "") if piece.isdigit() else (-1, piece) for piece in re.split(r"(\d+)", name)]

        return [self.tensor(name) for name in sorted((n for n in self.names if part in n), key=order)]

    @property
    def params(self) -> dict[str, Tensor]:
        """Weights under their official keys; `params_from` names the case that lends them, `row_scale` multiplies rows
        of single weights: {weight: {row: factor}}."""
        lender = self.json.get("params_from")
        borrowed = self.other(lender.split()[0]).params if lender and lender != "None" else {}
        weights = borrowed | self.group("param")
        for name, factors in self.json.get("row_scale", {}).items():
            weights[name] = weights[name].float()
            for row, factor in factors.items():
                weights[name][int(row)] *= factor
        return weights

    def other(self, stem: str) -> Case:
        """Another case of the same folder (`uses_case`, `params_from`)."""
        return Case(self.folder / f"{stem}.json")

    def file(self, name: str) -> Path:
        """A file the case names: beside it, one folder above, else the committed copy of its system."""
        places = (self.folder, self.folder.parent, GOLDEN / self.system)
        found = next((place / name for place in places if (place / name).is_file()), None)
        if found is None:
            raise FileNotFoundError(f"{self.label} needs {name}; looked in {', '.join(map(str, places))}")
        return found

    @property
    def _tensor_path(self) -> Path:
        return self.path.with_suffix(".safetensors")


def find_cases(root: Path) -> Iterator[Case]:
    """Every case below `root`, in name order; a JSON without `system`, `kind` and `check` is no case."""
    for path in sorted(Path(root).rglob("*.json")):
        values = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(values, dict) and {"system", "kind", "check"} <= values.keys():
            yield Case(path, values)


def single_thread() -> None:
    """Reference numbers were made with one thread; more would only reorder sums."""
    torch.set_num_threads(1)
