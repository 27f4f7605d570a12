"""The table of run_scripts/lf_vila/shapes.sh, and its numbers as metrics.json (means) and seeds.json (every seed).

    python data_prep/shapes_lf_vila.py output/lf_vila_shapes

The folder holds one folder per seed, seed<n>, with the runs stage1, without_mtc, stage2, order, order_without_stage1.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package of this checkout, installed or not

from vidalign.cli import guarded
from vidalign.common.errors import DataError
from vidalign.common.io import write_json

RUN_KEY = "shapes_paragraphs/test"
# name -> (run below the seed's folder, metric of its test set)
NUMBERS = {
    "R@1": ("stage1", "R@1"),
    "twin_choice": ("stage1", "twin_choice"),
    "clip_sentence_match": ("stage1", "clip_sentence_match"),
    "R@1_without_mtc": ("without_mtc", "R@1"),
    "twin_choice_without_mtc": ("without_mtc", "twin_choice"),
    "clip_sentence_match_without_mtc": ("without_mtc", "clip_sentence_match"),
    "order_accuracy": ("order", "accuracy"),
    "order_accuracy_without_stage_one": ("order_without_stage1", "accuracy"),
}


def main() -> None:
    """Parse the command line, write both files, print the table."""
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("folder", type=Path, help="run.output_dir of the script")
    folder = command.parse_args().folder
    seeds = collect(folder)
    means = {name: statistics.fmean(one[name] for one in seeds.values()) for name in NUMBERS}
    write_json(folder / "metrics.json", {"shapes/test": means})
    write_json(folder / "seeds.json", {"shapes/test": seeds})
    print("\n" + table(seeds, means))


def collect(folder: Path) -> dict[str, dict[str, float]]:
    """seed<n> -> its numbers; DataError where there is none or a run has not ended."""
    seeds = sorted(folder.glob("seed*/"))
    if not seeds:
        raise DataError(f"{folder}: no seed<n> in it; give run.output_dir of run_scripts/lf_vila/shapes.sh")
    return {seed.name: {name: _number(seed / run, metric) for name, (run, metric) in NUMBERS.items()} for seed in seeds}


def table(seeds: dict[str, dict[str, float]], means: dict[str, float]) -> str:
    """One row per number: the mean, then every seed."""
    lines = [f"{'shapes paragraphs, test':<36}{'mean':>8}" + "".join(f"{name:>8}" for name in seeds)]
    lines += [
        f"{name:<36}{mean:>8.3f}" + "".join(f"{one[name]:>8.3f}" for one in seeds.values())
        for name, mean in means.items()
    ]
    return "\n".join(lines)


def _number(run: Path, metric: str) -> float:
    path = run / "metrics.json"
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))[RUN_KEY][metric])
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}: no {metric} of {RUN_KEY} in it; run the script again, it goes on there") from error


if __name__ == "__main__":
    sys.exit(guarded(main))
