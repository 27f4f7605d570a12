"""Share of a training run that goes into checkpoints and records: everything written to disk, and the agreement on it.

    python benchmarks/checkpoint_cost.py                 CPU, mid-size random LLaMA, made NExT-QA rows
    python benchmarks/checkpoint_cost.py --size llama_7b --device cuda --precision bf16

A whole run of the default runner on the default save settings: lines, part files flushed to disk after every batch of
an evaluation, checkpoints before and after it. Time inside those calls is summed up by a clock around each; the rest of
the run (after building) is training and evaluation. Epochs are far shorter than real ones, so the share is an upper
bound.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from functools import wraps
from pathlib import Path

import torch

from vidalign.config.load import load
from vidalign.runners import run as run_module
from vidalign.runners.callbacks import MetricsFile
from vidalign.runners.distributed import Agreement
from vidalign.runners.eval_parts import PartFiles
from vidalign.runners.milestones import Milestones
from vidalign.runners.run import Runner

WATCHED = {
    "checkpoints": (Milestones, "save"),
    "metrics.jsonl": (MetricsFile, "write"),
    "agreement of the processes": (Agreement, "largest"),
    "parts of an earlier evaluation": (PartFiles, "begin"),
    "records, batch by batch": (PartFiles, "write"),
    "key of an evaluation": (run_module, "evaluation_key"),
    "training and evaluation in all": (Runner, "_train"),
}
WHOLE = "training and evaluation in all"


def main() -> None:
    """Train, print where the time went."""
    sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
    from tiny_nextqa import make_nextqa, write_config

    args = _arguments()
    spent, calls = defaultdict(float), defaultdict(int)
    for name, (owner, method) in WATCHED.items():
        setattr(owner, method, _timed(getattr(owner, method), name, spent, calls))
    with tempfile.TemporaryDirectory() as folder:
        root = make_nextqa(Path(folder) / "nextqa", rows=args.rows, dim=768)
        config = write_config(Path(folder) / "config.yaml", root, cache=Path(folder) / "cache")
        options = [
            f"model.size={args.size}",
            "model.visual_dim=768",
            f"run.device={args.device}",
            f"run.precision={args.precision}",
            f"model.llm.dtype={'float32' if args.precision == 'fp32' else 'bfloat16'}",
            f"run.batch_size_per_gpu={args.batch}",
            f"run.output_dir={args.output or Path(folder) / 'run'}",
        ]
        Runner(load(config, options, purpose="train")).train()
    rest = {name: seconds for name, seconds in spent.items() if name != WHOLE}
    for name, seconds in sorted(rest.items(), key=lambda item: -item[1]):
        print(f"{name:<32} {seconds:8.3f} s in {calls[name]:>4} calls  {100 * seconds / spent[WHOLE]:6.3f} %")
    print(f"{'all of this':<32} {sum(rest.values()):8.3f} s of {spent[WHOLE]:.1f} s", end="  ")
    print(f"{100 * sum(rest.values()) / spent[WHOLE]:6.3f} %  (torch {torch.__version__})")


def _timed(function, name, spent, calls):
    @wraps(function)
    def called(*args, **kwargs):
        start = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spent[name] += time.perf_counter() - start
            calls[name] += 1

    return called


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="mid", help="a name of vidalign/backbones/llm_sizes.py")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--rows", type=int, default=48, help="training rows; as many are evaluated after each epoch")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--output", help="run folder, to measure another disk; default: a temporary one")
    return parser.parse_args()


if __name__ == "__main__":
    main()
