"""The table of run_scripts/vila/shapes.sh, per seed and in the mean; the means go into metrics.json.

    python data_prep/shapes_vila.py output/vila_shapes

The folder holds one folder per seed, seed<n>, with the runs teacher, student, segment, official, uniform, drawn and
restricted inside.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package of this checkout, installed or not

from vidalign.cli import guarded
from vidalign.common.errors import DataError
from vidalign.common.io import write_json

SET = "shapes/test"
# entry -> (run below the seed's folder, entry of its metrics.json)
ENTRIES = {
    "accuracy_16_frames": ("teacher", "accuracy_moment"),
    "accuracy_4_frames": ("student", "accuracy_moment"),
    "accuracy_moment": ("segment", "accuracy_moment"),
    "accuracy_moment_uniform": ("uniform", "accuracy_moment"),
    "kept_moment": ("segment", "kept_moment"),
    "kept_moment_uniform": ("uniform", "kept_moment"),
    "accuracy_moment_drawn": ("drawn", "accuracy_moment"),
    "kept_moment_drawn": ("drawn", "kept_moment"),
    "accuracy_moment_restricted": ("restricted", "accuracy_moment"),
    "accuracy_moment_official": ("official", "accuracy_moment"),
    "kept_moment_official": ("official", "kept_moment"),
}


def main() -> None:
    """Parse the command line, print the table, write metrics.json."""
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("folder", type=Path, help="run.output_dir of the script")
    folder = command.parse_args().folder
    rows = collect(folder)
    write_json(folder / "metrics.json", {SET: mean(rows), "seeds": rows})
    print("\n" + table(rows))


def collect(folder: Path) -> dict[str, dict[str, float]]:
    """Seed -> entry -> number."""
    seeds = sorted(folder.glob("seed*"))
    if not seeds:
        raise DataError(f"{folder}: no seed<n> in it; give run.output_dir of run_scripts/vila/shapes.sh")
    return {one.name: {name: _number(one / run, key) for name, (run, key) in ENTRIES.items()} for one in seeds}


def mean(rows: dict[str, dict[str, float]]) -> dict[str, float]:
    """Entry -> mean over the seeds."""
    return {name: sum(row[name] for row in rows.values()) / len(rows) for name in ENTRIES}


def table(rows: dict[str, dict[str, float]]) -> str:
    """One line per entry, one column per seed, and the means."""
    columns = {**rows, "mean": mean(rows)}
    lines = [f"{'chance 0.25':<30}" + "".join(f"{name:>9}" for name in columns)]
    lines += [f"{entry:<30}" + "".join(f"{column[entry]:>9.3f}" for column in columns.values()) for entry in ENTRIES]
    return "\n".join(lines)


def _number(folder: Path, key: str) -> float:
    path = folder / "metrics.json"
    if not path.is_file():
        raise DataError(f"{path} is not there; did this run of run_scripts/vila/shapes.sh finish?")
    return json.loads(path.read_text(encoding="utf-8"))[SET][key]


if __name__ == "__main__":
    sys.exit(guarded(main))
