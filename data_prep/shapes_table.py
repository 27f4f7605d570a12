"""The table of a shapes.sh script that trains several seeds: a row per seed, the means, and one metrics.json.

    python data_prep/shapes_table.py FOLDER [FOLDER ...] --columns accuracy_core=:shapes/test:accuracy_core ...

A folder holds one run per seed, seed<n>. A column is NAME=RUN:DATASET/SPLIT:METRIC, where RUN is a run folder below the
seed's, empty for the seed's own. FOLDER/metrics.json gets {"<--as>": {NAME: mean, NAME_seed0: value, ...}}. Several
folders (settings that are compared) give one table, and a metrics.json each.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package of this checkout, installed or not

from vidalign.cli import guarded
from vidalign.common.errors import DataError, UserError


@dataclass(frozen=True)
class Column:
    """One number of every seed: `name`, and where it stands."""

    name: str
    run: str
    entry: str
    metric: str

    @classmethod
    def parse(cls, text: str) -> Column:
        """From NAME=RUN:DATASET/SPLIT:METRIC. UserError for anything else."""
        found = re.fullmatch(r"(\w+)=([^:]*):([^:]+):([^:]+)", text)
        if found is None:
            raise UserError(f"--columns {text!r}: write NAME=RUN:DATASET/SPLIT:METRIC, RUN may be empty")
        return cls(*found.groups())

    def of(self, seed_folder: Path) -> float:
        """The number. DataError where the file has none."""
        path = seed_folder / self.run / "metrics.json"
        if not path.is_file():
            raise DataError(f"{path} is missing; did the run of {self.name} finish?")
        found = json.loads(path.read_text(encoding="utf-8")).get(self.entry, {})
        if self.metric not in found:
            raise DataError(f"{path}: {self.entry} has no {self.metric}, only {', '.join(found) or 'nothing'}")
        return float(found[self.metric])


def main() -> None:
    """Parse the command line, write metrics.json, print the table."""
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("folders", type=Path, nargs="+", help="run.output_dir of the script")
    command.add_argument("--columns", nargs="+", required=True, help="NAME=RUN:DATASET/SPLIT:METRIC")
    command.add_argument("--as", dest="entry", default="shapes/test", help="name in metrics.json (default shapes/test)")
    given = command.parse_args()
    columns = [Column.parse(text) for text in given.columns]
    print("\n" + table(given.folders, columns, given.entry))


def table(folders: Sequence[Path], columns: Sequence[Column], entry: str) -> str:
    """One row per seed and one with the means for each folder; writes each folder's metrics.json."""
    from vidalign.common.io import write_json

    width = max(12, *(len(column.name) + 2 for column in columns))
    lines = [" " * 28 + "".join(f"{column.name:<{width}}" for column in columns)]
    for folder in folders:
        seeds = sorted(path for path in folder.glob("seed*") if path.is_dir())
        if not seeds:
            raise DataError(f"{folder}: no run seed<n> in it; give run.output_dir of the script")
        rows = {path.name: [column.of(path) for column in columns] for path in seeds}
        means = [sum(values) / len(seeds) for values in zip(*rows.values(), strict=True)]
        told = {column.name: mean for column, mean in zip(columns, means, strict=True)}
        for seed, values in rows.items():
            told |= {f"{column.name}_{seed}": value for column, value in zip(columns, values, strict=True)}
        write_json(folder / "metrics.json", {entry: told})
        lines += [_row(f"{folder.name} {seed}", values, width) for seed, values in rows.items()]
        lines.append(_row(f"{folder.name} mean", means, width))
    return "\n".join(lines)


def _row(name: str, values: Sequence[float], width: int) -> str:
    return f"{name:<28}" + "".join(f"{value:<{width}.3f}" for value in values)


if __name__ == "__main__":
    sys.exit(guarded(main))
