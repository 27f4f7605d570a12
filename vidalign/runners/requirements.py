"""Which packages this program was made for: ranges of setup.py, the tested set of constraints.txt."""

from __future__ import annotations

import ast
import re
from importlib import metadata
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def declared() -> dict[str, list[str]]:
    """Requirements like "torch>=2.11" of the core (key "core") and of every extra.

    From setup.py in a checkout, else from the installed package.
    """
    setup = CHECKOUT / "setup.py"
    if setup.is_file():
        lists = _literals(setup, ("CORE", "EXTRAS"))
        return {"core": lists["CORE"], **lists["EXTRAS"]}
    found: dict[str, list[str]] = {"core": []}
    for line in metadata.requires("vidalign") or []:
        extra = re.search(r"""extra\s*==\s*['"]([^'"]+)""", line)
        found.setdefault(extra[1] if extra else "core", []).append(re.sub(r"\s*;\s*extra\s*==.*", "", line))
    return found


def tested() -> dict[str, str]:
    """Package (lower case) -> version of the tested set; {} where constraints.txt is not at hand."""
    path = CHECKOUT / "constraints.txt"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    pairs = (line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {name.strip().lower().replace("_", "-"): version.strip() for name, version in pairs}


def _literals(path: Path, names: tuple[str, ...]) -> dict:
    """Values of plain assignments in a Python file, which is not executed."""
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in names:
            found[node.targets[0].id] = ast.literal_eval(node.value)
    return found
