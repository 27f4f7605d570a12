"""The numbers of a script that trains several seeds: a table, and one metrics.json with means and spreads.

    python data_prep/shapes_table.py FOLDER [FOLDER ...] --numbers accuracy_core=:shapes/test:accuracy_core ...

A folder holds one run per seed, seed<n>. A number is NAME=RUN:DATASET/SPLIT:METRIC, where RUN is a run folder below the
seed's, empty for the seed's own. FOLDER/metrics.json gets {"<--as>": {NAME: mean, NAME_std: of the seeds as a sample,
NAME_seed0: value, ...}}. Of several folders (settings that are compared) each has its own table and metrics.json.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package of this checkout, installed or not

from vidalign.cli import guarded
from vidalign.common.errors import DataError, UserError


@dataclass(frozen=True)
class Number:
    """One number of every seed: `name`, and where it stands."""

    name: str
    run: str
    entry: str
    metric: str

    @classmethod
    def parse(cls, text: str) -> Number:
        """From NAME=RUN:DATASET/SPLIT:METRIC. UserError for anything else."""
        found = re.fullmatch(r"([^=:]+)=([^:]*):([^:]+):([^:]+)", text)
        if found is None:
            raise UserError(f"--numbers {text!r}: write NAME=RUN:DATASET/SPLIT:METRIC, RUN may be empty")
        return cls(*found.groups())

    def of(self, seed_folder: Path) -> float:
        """The number; NaN for one that is not finite, which JSON has as null. DataError where the file has none."""
        path = seed_folder / self.run / "metrics.json"
        if not path.is_file():
            raise DataError(f"{path} is missing; did the run of {self.name} finish?")
        found = json.loads(path.read_text(encoding="utf-8")).get(self.entry, {})
        if self.metric not in found:
            raise DataError(f"{path}: {self.entry} has no {self.metric}, only {', '.join(found) or 'nothing'}")
        return math.nan if found[self.metric] is None else float(found[self.metric])


def main() -> None:
    """Parse the command line, write metrics.json, print the table."""
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("folders", type=Path, nargs="+", help="run.output_dir of the script")
    command.add_argument("--numbers", nargs="+", required=True, help="NAME=RUN:DATASET/SPLIT:METRIC")
    command.add_argument("--as", dest="entry", default="shapes/test", help="name in metrics.json (default shapes/test)")
    given = command.parse_args()
    numbers = [Number.parse(text) for text in given.numbers]
    for folder in given.folders:
        print("\n" + table(folder, numbers, given.entry))


def table(folder: Path, numbers: Sequence[Number], entry: str) -> str:
    """One line per number: every seed, mean and spread. Writes the folder's metrics.json."""
    from vidalign.common.io import write_json
    from vidalign.scoring.classification import over_seeds

    seeds = sorted(path for path in folder.glob("seed*") if path.is_dir())
    if not seeds:
        raise DataError(f"{folder}: no run seed<n> in it; give run.output_dir of the script")
    width = max(len(folder.name), *(len(number.name) for number in numbers)) + 2
    heads = (*(seed.name for seed in seeds), "mean", "std")
    lines = [f"{folder.name:<{width}}" + "".join(f"{name:>8}" for name in heads)]
    summary, by_seed = {}, {}
    for number in numbers:
        values = [number.of(seed) for seed in seeds]
        found = over_seeds(values)
        summary |= {number.name: found["mean"], f"{number.name}_std": found["std"]}
        by_seed |= {f"{number.name}_{seed.name}": value for seed, value in zip(seeds, values, strict=True)}
        shown = (*values, found["mean"], found["std"])
        lines.append(f"{number.name:<{width}}" + "".join(f"{value:>8.3f}" for value in shown))
    write_json(folder / "metrics.json", {entry: summary | by_seed})
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(guarded(main))
