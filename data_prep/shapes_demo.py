"""The demo behind run_scripts/demo.sh: bases, BoViLA on `shapes`, its two controls, one table.

    python data_prep/shapes_demo.py [--short] [--features] [--options key=value ...]

--short: the colour of a thing that stands still, on a smaller base, in a few minutes; what the slow tests run. The
main run's folder is run.output_dir; the controls are in its sub-folders control_blank and control_frame. Each training
has one thread; where there are two cores or more, two of them run at once, and clips are drawn and their features
stored (--features: only that) beside the making of the language model.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package of this checkout, installed or not

from vidalign.cli import guarded

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIG = "configs/bovila/shapes_train.yaml"
SHORT_BASES = ("--text-only", "still", "--text-clips", "2000", "--text-steps", "480", "--look-up-steps", "280")
SHORT_PICTURES = ("--picture-clips", "400", "--picture-steps", "200")
SHORT = ["datasets.shapes.kinds=[still]", "datasets.shapes.num_train=600", "datasets.shapes.num_test=200"]
SHORT += ["run.max_epochs=12", "run.max_steps=180"]
# From a random start, so that there is something to learn.
SHORT += ["model.adapter.visual_start=null", "run.optimizer.lr=1.25e-2"]
CONTROLS = {"blank": "trained and tested on blank videos", "frame": "trained and tested on one frame of each video"}


def main() -> None:
    """Run the parts and print the table."""
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--short", action="store_true", help="a thing that stands still, on a smaller base")
    command.add_argument("--features", action="store_true", help="draw the clips and store their features, no more")
    command.add_argument("--options", nargs="*", default=[], metavar="KEY=VALUE", help="changes of the config")
    options = command.parse_args()
    given = list(options.options)
    if options.short:
        given = [*SHORT, *given]
    from vidalign.config.load import load

    experiment = load(str(REPOSITORY / CONFIG), given, [], purpose="train")
    if options.features:
        _store_features(experiment)
        return
    folder = Path(experiment.run.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    print("\n=== base models", flush=True)
    settings = ("--cache", experiment.paths.cache, *((*SHORT_BASES, *SHORT_PICTURES) if options.short else ()))
    parts = ["clip", "llm", *(["visual_start"] if experiment.model.adapter.visual_start else [])]
    _bases(settings, parts, given, folder)
    made = time.monotonic() - start
    _trainings(given, folder)
    total = time.monotonic() - start
    print("\n" + table(folder))
    print(f"\n{total / 60:.1f} minutes, of which {made / 60:.1f} for the base models; run folder: {folder}")
    print("Try next: bash run_scripts/demo.sh run.seed=1")
    print("          bash run_scripts/bovila/shapes.sh datasets.shapes.seed=5 run.output_dir=output/other_videos")
    print("          bash run_scripts/bovila/shapes.sh model.losses.vaq=0 run.output_dir=output/answer_only")


def _bases(settings: Sequence[str], parts: Sequence[str], given: Sequence[str], folder: Path) -> None:
    """CLIP and language model; on a second core, while the slower language model is made, clips and features, too."""
    script = ["data_prep/shapes_bases.py", *settings, "--parts"]
    if _cores() < 2:
        _run([*script, *parts])
        return
    _run([*script, "text"], log=folder / "bases_clip.log")
    with ThreadPoolExecutor(1) as pool:
        language = pool.submit(_run, [*script, "llm"])
        _run([*script, "clip"], log=folder / "bases_clip.log")
        for blind in (None, *CONTROLS):
            if language.done():
                break  # the trainings, which run two at once, make what is missing
            options = [*given, "datasets.shapes.workers=1", *([f"datasets.shapes.blind={blind}"] if blind else [])]
            _run(["data_prep/shapes_demo.py", "--features", "--options", *options], log=folder / "features.log")
        language.result()
    _run([*script, *parts])


def _store_features(experiment: Any) -> None:
    """What a training with this config would do first: draw the missing clips, store the missing features."""
    from vidalign.data.shapes.builder import Shapes
    from vidalign.runners.extract import features_for

    config = experiment.datasets["shapes"]
    builder = Shapes(config)
    samples = [sample for split in (config.train, config.eval) for sample in builder.samples(split)]
    features_for(config, samples, builder.media_root, Path(experiment.paths.cache), dim=experiment.model.visual_dim)


def table(folder: Path) -> str:
    """Accuracy by question type with 95 % intervals: before training, after it, and the two controls."""
    from vidalign.data.shapes.questions import GROUPS

    names = {"BoViLA": folder, "blank videos": folder / "control_blank", "one frame": folder / "control_frame"}
    hits = {name: _hits(path / "predictions" / "shapes" / "test.jsonl") for name, path in names.items()}
    before = _before(folder)
    heads = ("before training", *names)
    lines = [f"{'accuracy on shapes/test (chance 0.25)':<38}" + "".join(f"{name:<22}" for name in heads)]
    for group, types in GROUPS.items():
        for label, wanted in [(group, types), *((f"  {name}", (name,)) for name in types)]:
            number = sum(qtype in wanted for qtype, _ in next(iter(hits.values())))
            if not number:
                continue  # not asked in this run
            known = before.get(f"accuracy_{label.strip()}")
            cells = ["-" if known is None else f"{known:.2f}", *(_share(one, wanted) for one in hits.values())]
            lines.append(f"{label:<10}{number:>5} questions{'':<13}" + "".join(f"{cell:<22}" for cell in cells))
    return "\n".join(lines)


def _share(hits: Sequence[tuple[str, bool]], wanted: Sequence[str]) -> str:
    """Accuracy on the wanted types with its interval."""
    from vidalign.scoring.intervals import wilson

    counted = [hit for qtype, hit in hits if qtype in wanted]
    if not counted:
        return "-"
    low, high = wilson(sum(counted), len(counted))
    return f"{sum(counted) / len(counted):.2f} ({low:.2f} to {high:.2f})"


def _hits(path: Path) -> list[tuple[str, bool]]:
    """(question type, right or not) of every record; the type is read from the samples of the run's own config."""
    from vidalign.config.load import load
    from vidalign.data.shapes.builder import Shapes
    from vidalign.data.shapes.samples import multiple_choice

    config = load(str(path.parents[2] / "config.yaml"), [], [], purpose="train").datasets["shapes"]
    type_of = {s.uid: s.qtype for clip in Shapes(config).clips("test") for s in multiple_choice(clip, "test")}
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [(type_of[r["uid"]], r.get("pred_idx") == r["answer_idx"]) for r in records]


def _before(folder: Path) -> dict[str, float]:
    """The metrics of run.eval_before_training, empty where that was switched off."""
    for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row.get("kind") == "eval_before_training":
            return row
    return {}


def _trainings(given: Sequence[str], folder: Path) -> None:
    """BoViLA in the foreground; the controls beside it, their output in control_<name>.log."""
    print(f"\n=== BoViLA, and beside it two controls ({', '.join(CONTROLS.values())})", flush=True)
    with ThreadPoolExecutor(min(_cores(), 2)) as pool:
        jobs = [pool.submit(_train, given, folder, None)]
        jobs += [pool.submit(_train, given, folder, name) for name in CONTROLS]
        for job in jobs:
            job.result()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _train(given: Sequence[str], folder: Path, control: str | None) -> None:
    options = ["train.py", "--cfg-path", CONFIG, "--options", *given]
    if control is None:
        _run([*options, f"run.output_dir={folder}", "run.eval_before_training=true"])
        return
    log = folder / f"control_{control}.log"
    blind = [f"datasets.shapes.blind={control}", f"run.output_dir={folder / f'control_{control}'}"]
    _run([*options, *blind], log=log)
    print(f"control done: {CONTROLS[control]} ({log})", flush=True)


def _run(command: list[str], *, log: Path | None = None) -> None:
    """One command of this repository; where it fails, so does the demo, with its exit code."""
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    with open(log or os.devnull, "w", encoding="utf-8") as file:
        where = {"stdout": file, "stderr": subprocess.STDOUT} if log else {}
        done = subprocess.run([sys.executable, *command], cwd=REPOSITORY, env=os.environ | threads, **where)
    if done.returncode:
        if log:
            print(log.read_text(encoding="utf-8")[-2000:], file=sys.stderr)
        sys.exit(done.returncode)


if __name__ == "__main__":
    sys.exit(guarded(main))
