"""The table of run_scripts/topa/shapes.sh: accuracy on the core questions, per seed and in the mean.

    python data_prep/shapes_topa.py output/topa_shapes

The folder holds one run per seed, seed<n>, with the evaluations no_memory and blank inside.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package of this checkout, installed or not

from vidalign.cli import guarded
from vidalign.common.errors import DataError

# column -> (run below the seed's folder, entry of its metrics.json)
COLUMNS = {
    "video, memory": ("", "shapes/test"),
    "video, no memory": ("no_memory", "shapes/test"),
    "captions": ("", "shapes_text/test"),
    "blank video": ("blank", "shapes/test"),
}


def main() -> None:
    """Parse the command line and print the table."""
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("folder", type=Path, help="run.output_dir of the script")
    print("\n" + table(command.parse_args().folder))


def table(folder: Path) -> str:
    """One row per seed, and the means."""
    seeds = sorted(folder.glob("seed*"))
    if not seeds:
        raise DataError(f"{folder}: no seed<n> in it; give run.output_dir of run_scripts/topa/shapes.sh")
    rows = {one.name: [_core(one / run, name) for run, name in COLUMNS.values()] for one in seeds}
    rows["mean"] = [sum(column) / len(seeds) for column in zip(*rows.values(), strict=True)]
    lines = [f"{'accuracy, core (chance 0.25)':<32}" + "".join(f"{name:<20}" for name in COLUMNS)]
    lines += [f"{name:<32}" + "".join(f"{value:<20.3f}" for value in row) for name, row in rows.items()]
    return "\n".join(lines)


def _core(folder: Path, name: str) -> float:
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))[name]["accuracy_core"]


if __name__ == "__main__":
    sys.exit(guarded(main))
