"""TOPA on the drawn benchmark, as run_scripts/topa/shapes.sh runs it: three seeds and one table.

    python data_prep/shapes_topa.py [--seeds 0 1 2] [--options key=value ...]

Each seed is trained on captions alone, then evaluated on video with and without the support memory, on blank video, and
on the captions of the same questions. The folder of a seed is run.output_dir/seed<n>.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package of this checkout, installed or not

from vidalign.cli import guarded

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIG = "configs/topa/shapes_train.yaml"
TEXT = "datasets.shapes_text.train=null", "datasets.shapes_text.max_samples=1"
# column -> (run below the seed's folder, entry of its metrics.json)
COLUMNS = {
    "video, memory": ("", "shapes/test"),
    "video, no memory": ("no_memory", "shapes/test"),
    "captions": ("", "shapes_text/test"),
    "blank video": ("blank", "shapes/test"),
}
CONTROLS = {"no_memory": "model.memory.path=null", "blank": "datasets.shapes.blind=blank"}


def main() -> None:
    """Run the parts one after the other and print the table."""
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    command.add_argument("--options", nargs="*", default=[], help="key=value")
    given = command.parse_args()
    from vidalign.config.load import load

    experiment = load(str(REPOSITORY / CONFIG), given.options)
    folder = Path(experiment.run.output_dir)
    start = time.monotonic()
    _part("base models", ["data_prep/shapes_bases.py", "--cache", experiment.paths.cache])
    made = time.monotonic() - start
    _part("caption features", ["data_prep/shapes_captions.py", "--options", *given.options])
    for seed in given.seeds:
        own = folder / f"seed{seed}"
        _part(f"seed {seed}", _command("train.py", given.options, own, f"run.seed={seed}"))
        for name, option in CONTROLS.items():
            weights = f"run.checkpoint={own}/checkpoints/last.pt"
            _part(f"seed {seed}: {name}", _command("evaluate.py", given.options, own / name, weights, option, *TEXT))
    print("\n" + table(folder, given.seeds))
    minutes = (time.monotonic() - start) / 60
    print(f"\n{minutes:.1f} minutes, of which {made / 60:.1f} for the base models; run folder: {folder}")


def table(folder: Path, seeds: list[int]) -> str:
    """Accuracy on the core questions per seed, and the means."""
    rows = {str(seed): [_core(folder / f"seed{seed}" / run, name) for run, name in COLUMNS.values()] for seed in seeds}
    rows["mean"] = [sum(column) / len(seeds) for column in zip(*rows.values(), strict=True)]
    lines = [f"{'accuracy, core (chance 0.25)':<32}" + "".join(f"{name:<20}" for name in COLUMNS)]
    lines += [f"{'seed ' + name:<32}" + "".join(f"{value:<20.3f}" for value in row) for name, row in rows.items()]
    return "\n".join(lines)


def _core(folder: Path, name: str) -> float:
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))[name]["accuracy_core"]


def _command(script: str, options: list[str], folder: Path, *more: str) -> list[str]:
    return [script, "--cfg-path", CONFIG, "--options", *options, *more, f"run.output_dir={folder}"]


def _part(name: str, command: list[str]) -> None:
    print(f"\n=== {name}", flush=True)
    done = subprocess.run([sys.executable, *command], cwd=REPOSITORY)
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    sys.exit(guarded(main))
