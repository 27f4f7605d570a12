"""The two ends of run_scripts/video_panda/shapes.sh: the videos before it, the table and metrics.json behind it.

    python data_prep/shapes_panda.py draw [--options key=value ...]
    python data_prep/shapes_panda.py table FOLDER [--options key=value ...]

FOLDER holds one run per seed, seed<n>, and the control blank, each with its evaluation in eval. metrics.json holds the
means over the seeds (exact_match_<type or group>), the control (blank_...), what the most frequent training answer of
every type reaches (majority_...), and each seed's own numbers (exact_match_..._seed0).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package of this checkout, installed or not

from vidalign.cli import guarded
from vidalign.common.errors import DataError
from vidalign.common.io import write_json

CONFIG = str(Path(__file__).resolve().parents[1] / "configs" / "video_panda" / "shapes_prealign.yaml")


def main() -> None:
    """Parse the command line and do the part that it names."""
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = command.add_subparsers(dest="part", required=True)
    for name, text in (("draw", "draw what is missing"), ("table", "print the table, write metrics.json")):
        part = parts.add_parser(name, help=text)
        if name == "table":
            part.add_argument("folder", type=Path, help="run.output_dir of the script")
        part.add_argument("--options", nargs="*", default=[], metavar="KEY=VALUE", help="changes of the config")
    given = command.parse_args()
    if given.part == "draw":
        for more in ([], ["datasets.shapes.blind=blank"]):
            built = _builder([*given.options, *more])
            for split in ("train", "test"):
                built.samples(split)
        return
    metrics = summary(given.folder, _majority(given.options))
    write_json(given.folder / "metrics.json", {"shapes/test": metrics})
    print("\n" + table(metrics))


def summary(folder: Path, majority: Mapping[str, float]) -> dict[str, float]:
    """The content of metrics.json: means over the seeds, the two controls, and every seed's own."""
    seeds = sorted(path.name for path in folder.glob("seed*") if path.is_dir())
    if not seeds:
        raise DataError(f"{folder}: no seed<n> in it; give run.output_dir of run_scripts/video_panda/shapes.sh")
    found = {name: _evaluated(folder / name) for name in (*seeds, "blank")}
    names = list(found[seeds[0]])
    means = {f"exact_match_{name}": sum(found[seed][name] for seed in seeds) / len(seeds) for name in names}
    blank = {f"blank_{name}": value for name, value in found["blank"].items()}
    own = {f"exact_match_{name}_{seed}": found[seed][name] for seed in seeds for name in names}
    return means | blank | {f"majority_{name}": value for name, value in majority.items()} | own


def table(metrics: Mapping[str, float]) -> str:
    """One row per type and group: the mean over the seeds, every seed, the two controls."""
    names = [name.removeprefix("blank_") for name in metrics if name.startswith("blank_")]
    own = sorted({name.rpartition("_")[2] for name in metrics if "_seed" in name})
    heads = ("mean", *own, "blank video", "majority")
    lines = [f"{'exact match on shapes/test':<30}" + "".join(f"{head:<14}" for head in heads)]
    for name in names:
        keys = [f"exact_match_{name}", *(f"exact_match_{name}_{seed}" for seed in own)]
        cells = [metrics[key] for key in (*keys, f"blank_{name}", f"majority_{name}")]
        lines.append(f"{name:<30}" + "".join(f"{cell:<14.3f}" for cell in cells))
    return "\n".join(lines)


def majority_shares(train: Iterable[tuple[str, str]], test: Iterable[tuple[str, str]]) -> dict[str, float]:
    """(type, answer) of training and test questions -> type or group -> share of test questions that the most frequent
    training answer of their type meets.
    """
    from vidalign.data.shapes.questions import GROUPS

    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for qtype, answer in train:
        counts[qtype][answer] += 1
    best = {qtype: answers.most_common(1)[0][0] for qtype, answers in counts.items()}
    hits: dict[str, list[bool]] = defaultdict(list)
    for qtype, answer in test:
        for name in (qtype, *(group for group, types in GROUPS.items() if qtype in types)):
            hits[name].append(best.get(qtype) == answer)
    return {name: sum(hits[name]) / len(hits[name]) for name in sorted(hits)}


def _majority(options: Sequence[str]) -> dict[str, float]:
    from vidalign.data.shapes.questions import questions_of

    built = _builder(options)
    train, test = (
        [(asked.qtype, asked.answer) for clip in built.clips(split) for asked in questions_of(clip)]
        for split in ("train", "test")
    )
    return majority_shares(train, test)


def _builder(options: Sequence[str]) -> Any:
    from vidalign.config.load import load
    from vidalign.data.shapes.builder import Shapes

    return Shapes(load(CONFIG, list(options), [], purpose="train").datasets["shapes"])


def _evaluated(folder: Path) -> dict[str, float]:
    """Exact match by type and group of an evaluation."""
    from vidalign.data.shapes.questions import GROUPS

    metrics = json.loads((folder / "eval" / "metrics.json").read_text(encoding="utf-8"))["shapes/test"]
    names = [name for group, types in GROUPS.items() for name in (group, *types)]
    return {name: metrics[f"exact_match_{name}"] for name in names if f"exact_match_{name}" in metrics}


if __name__ == "__main__":
    sys.exit(guarded(main))
