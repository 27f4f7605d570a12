"""The demo behind run_scripts/demo.sh: bases, BoViLA on `shapes`, its two controls, one table.

    python data_prep/shapes_demo.py [--options key=value ...]

The main run's folder is run.output_dir; the controls are in its sub-folders control_blank and control_frame.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package of this checkout, installed or not

from vidalign.cli import guarded

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIG = "configs/bovila/shapes_train.yaml"
CONTROLS = {"blank": "trained and tested on blank videos", "frame": "trained and tested on one frame of each video"}


def main() -> None:
    """Run the parts one after the other and print the table."""
    given = sys.argv[2:] if sys.argv[1:2] == ["--options"] else sys.argv[1:]
    from vidalign.config.load import load

    experiment = load(str(REPOSITORY / CONFIG), given, [], purpose="train")
    folder = Path(experiment.run.output_dir)
    start = time.monotonic()
    _part("base models", ["data_prep/shapes_bases.py", "--cache", experiment.paths.cache])
    made = time.monotonic() - start
    _train("BoViLA", given, folder)
    for name, what in CONTROLS.items():
        _train(f"control: {what}", [*given, f"datasets.shapes.blind={name}"], folder / f"control_{name}")
    total = time.monotonic() - start
    print("\n" + table(folder))
    print(f"\n{total / 60:.1f} minutes, of which {made / 60:.1f} for the base models; run folder: {folder}")
    print("Try next: bash run_scripts/demo.sh run.seed=1")
    print("          bash run_scripts/bovila/shapes.sh datasets.shapes.seed=5 run.output_dir=output/other_videos")
    print("          bash run_scripts/bovila/shapes.sh model.losses.aqa=0 model.losses.uncertainty_gate=false")


def table(folder: Path) -> str:
    """Accuracy by question type with 95 % intervals, beside the two controls."""
    from vidalign.data.shapes.questions import GROUPS
    from vidalign.scoring.intervals import wilson

    names = {"BoViLA": folder, "blank videos": folder / "control_blank", "one frame": folder / "control_frame"}
    hits = {name: _hits(path / "predictions" / "shapes" / "test.jsonl") for name, path in names.items()}
    lines = [f"{'accuracy on shapes/test (chance 0.25)':<38}" + "".join(f"{name:<22}" for name in names)]
    for group, types in GROUPS.items():
        for label, wanted in [(group, types), *((f"  {name}", (name,)) for name in types)]:
            cells = []
            for one in hits.values():
                counted = [hit for qtype, hit in one if qtype in wanted]
                low, high = wilson(sum(counted), len(counted))
                share = sum(counted) / len(counted) if counted else float("nan")
                cells.append(f"{share:.2f} ({low:.2f} to {high:.2f})")
            number = sum(qtype in wanted for qtype, _ in next(iter(hits.values())))
            lines.append(
                f"{label + ' ' * (10 - len(label))}{number:>5} questions{'':<13}"
                + "".join(f"{cell:<22}" for cell in cells)
            )
    return "\n".join(lines)


def _hits(path: Path) -> list[tuple[str, bool]]:
    """(question type, right or not) of every record; the type is read from the samples of the run's own config."""
    from vidalign.config.load import load
    from vidalign.data.shapes.builder import Shapes
    from vidalign.data.shapes.samples import multiple_choice

    config = load(str(path.parents[2] / "config.yaml"), [], [], purpose="train").datasets["shapes"]
    type_of = {s.uid: s.qtype for clip in Shapes(config).clips("test") for s in multiple_choice(clip, "test")}
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [(type_of[r["uid"]], r.get("pred_idx") == r["answer_idx"]) for r in records]


def _train(name: str, options: list[str], folder: Path) -> None:
    _part(name, ["train.py", "--cfg-path", CONFIG, "--options", *options, f"run.output_dir={folder}"])


def _part(name: str, command: list[str]) -> None:
    print(f"\n=== {name}", flush=True)
    done = subprocess.run([sys.executable, *command], cwd=REPOSITORY)
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    sys.exit(guarded(main))
