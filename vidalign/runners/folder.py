"""The run folder: what a run leaves behind, and the table it prints at the end.

config.yaml  environment.json  metrics.jsonl  metrics.json  predictions/<dataset>/<split>.jsonl
checkpoints/last.pt  checkpoints/best.pt  tensorboard/
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidalign.common import dist
from vidalign.common.errors import ConfigError
from vidalign.common.io import atomic_write, write_json
from vidalign.config.load import resolved_yaml
from vidalign.scoring.judge_prompts import RATINGS

if TYPE_CHECKING:
    from vidalign.common.record import Record
    from vidalign.config.schema import Experiment

PACKAGES = ("torch", "transformers", "numpy", "omegaconf", "sentencepiece", "safetensors", "decord", "torchcodec", "av")
SHOWN_REASONS, SHOWN_UIDS = 30, 4


class RunFolder:
    """Paths inside run.output_dir; `start` writes what is known before anything else happens."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.root = Path(experiment.run.output_dir)
        self.metrics_lines = self.root / "metrics.jsonl"
        self.metrics = self.root / "metrics.json"
        self.predictions = self.root / "predictions"
        self.last = self.root / "checkpoints" / "last.pt"
        self.best = self.root / "checkpoints" / "best.pt"
        self.tensorboard = self.root / "tensorboard"

    def start(self) -> None:
        """Write config.yaml and environment.json (first process only)."""
        if not dist.is_main():
            return
        try:
            with atomic_write(self.root / "config.yaml") as file:
                file.write(resolved_yaml(self.experiment))
            write_json(self.root / "environment.json", environment(self.experiment))
        except OSError as error:
            raise ConfigError(f"run.output_dir: {self.root} cannot be written: {error.strerror or error}") from error


def environment(experiment: Experiment) -> dict[str, Any]:
    """Versions, revision, seed, decoders and machine of a run."""
    import torch

    return {
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "git_revision": _git_revision(),
        "seed": experiment.run.seed,
        "decoder": {name: config.decoder for name, config in experiment.datasets.items()},
        "processes": dist.world_size(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "platform": platform.platform(),
        "command": sys.argv,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_revision() -> str | None:
    """Commit of the checkout this package runs from, "+changes" when files differ; None outside a repository."""
    folder = Path(__file__).resolve().parents[2]
    try:
        run = {"cwd": folder, "capture_output": True, "text": True, "timeout": 10, "env": {**os.environ, "LC_ALL": "C"}}
        head = subprocess.run(["git", "rev-parse", "HEAD"], check=True, **run).stdout.strip()
        changes = subprocess.run(["git", "status", "--porcelain", "-uno"], check=True, **run).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{head}+changes" if changes else head


def closing_table(results: dict[str, tuple[list[Record], dict[str, float]]]) -> str:
    """Metrics per split, then every reason why samples failed or were unusual, with their uids."""
    lines = []
    for name, (records, metrics) in results.items():
        lines.append(name)
        width = max(len(key) for key in metrics)
        lines += [f"  {key:<{width}}  {_number(key, value)}" for key, value in metrics.items()]
        endless = metrics.get("mse") == float("inf")
        counted = "mse is infinite, answered_mse without them" if endless else "counted as wrong"
        lines += _reasons(f"failed ({counted})", [r for r in records if r.status != "ok"])
        lines += _reasons("usable, but", [r for r in records if r.status == "ok" and r.reason])
    return "\n".join(lines)


_NO_SHARES = ("MedR", "MeanR", "mse", "mse_low", "mse_high")


def _number(key: str, value: float | str) -> str:
    """Percentages with two decimals, a judge's scores out of 5, ranks and errors as numbers, the rest as it is."""
    if isinstance(value, float) and key.startswith(RATINGS):
        return f"{value:.2f} of 5"
    if isinstance(value, float) and key.endswith(_NO_SHARES):
        return f"{value:.3f}"
    return str(value) if isinstance(value, int | str) else f"{100 * value:.2f} %"


def _reasons(title: str, records: Iterable[Record]) -> list[str]:
    uids = defaultdict(list)
    for record in records:
        uids[record.reason].append(record.uid)
    if not uids:
        return []
    rows = sorted(uids.items(), key=lambda item: -len(item[1]))
    lines = [f"  {title}:"]
    for reason, names in rows[:SHOWN_REASONS]:
        more = f" and {len(names) - SHOWN_UIDS} more" if len(names) > SHOWN_UIDS else ""
        lines.append(f"    {len(names):>5}  {reason}")
        lines.append(f"           {', '.join(names[:SHOWN_UIDS])}{more}")
    if len(rows) > SHOWN_REASONS:
        lines.append(f"    ... and {len(rows) - SHOWN_REASONS} further reasons, see the prediction records")
    return lines
