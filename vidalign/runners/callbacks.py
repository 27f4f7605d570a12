"""Listeners of the training loop: metrics.jsonl, TensorBoard, the progress bar."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from vidalign.common import dist
from vidalign.common.errors import TrainingError
from vidalign.common.io import append_jsonl, atomic_write
from vidalign.runners.progress import Progress


class MetricsFile:
    """One line per report in metrics.jsonl: {"kind": train | epoch | eval | ..., "epoch", "step", numbers ...}.

    Also keeps time: samples per second over all processes, and the GPU's peak memory where there is one. A run that
    goes on from a checkpoint keeps the first `count` lines of the file, those that were there when it was saved; what
    follows will be written again. TrainingError when a line cannot be written.
    """

    def __init__(self, path: Path, *, count: int = 0, samples: int = 0) -> None:
        self.path, self.count = path, count
        if dist.is_main() and path.is_file():
            lines = path.read_bytes().splitlines(keepends=True)[:count]
            with atomic_write(path, "wb") as file:
                file.writelines(lines)
        self._mark = (time.perf_counter(), samples)

    def on_step(self, progress: Progress) -> None:
        """Nothing."""

    def on_line(self, progress: Progress, values: dict[str, float]) -> None:
        """A line of kind "train"."""
        now, (then, samples) = time.perf_counter(), self._mark
        self._mark = (now, progress.samples)
        rate = (progress.samples - samples) * dist.world_size() / max(now - then, 1e-9)
        timing = {"samples_per_second": round(rate, 3), "seconds": round(now - then, 3), **_memory()}
        self.write("train", progress, {**values, **timing})

    def on_epoch(self, progress: Progress, values: dict[str, float]) -> None:
        """A line of kind "epoch" with the whole epoch's averages."""
        self.write("epoch", progress, values)

    def write(self, kind: str, progress: Progress, values: dict[str, Any]) -> None:
        """Append one line (first process only)."""
        if not dist.is_main():
            return
        try:
            append_jsonl(self.path, [{"kind": kind, "epoch": progress.epoch, "step": progress.step, **values}])
        except OSError as error:
            raise TrainingError(
                f"{self.path} could not be written: {error.strerror or error}. Free some space; the same command goes "
                "on from the last checkpoint"
            ) from error
        self.count += 1


class TensorBoard:
    """The same numbers as TensorBoard events."""

    def __init__(self, folder: Path, *, step: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # Events of a broken-off run after its checkpoint are hidden: they come again.
        self._writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None)

    @classmethod
    def if_installed(cls, folder: Path, *, step: int = 0) -> TensorBoard | None:
        """None with a remark when tensorboard is missing: events are a convenience, metrics.jsonl has everything."""
        try:
            return cls(folder, step=step)
        except ImportError:
            print("TensorBoard events are not written: tensorboard is not installed", file=sys.stderr)
            return None

    def on_step(self, progress: Progress) -> None:
        """Nothing."""

    def on_line(self, progress: Progress, values: dict[str, float]) -> None:
        """train/<name> at the optimizer step."""
        self.scalars("train", progress.step, values)

    def on_epoch(self, progress: Progress, values: dict[str, float]) -> None:
        """epoch/<name> at the optimizer step."""
        self.scalars("epoch", progress.step, values)

    def scalars(self, group: str, step: int, values: dict[str, float]) -> None:
        """Write numbers under `group/`; remarks (texts) stay out."""
        for name, value in values.items():
            if isinstance(value, str):
                continue
            self._writer.add_scalar(f"{group}/{name}", value, step)
        self._writer.flush()

    def close(self) -> None:
        """Finish the event file."""
        self._writer.close()


class Bar:
    """A progress bar over optimizer steps; shows the last line's loss and rate."""

    def __init__(self, total: int, start: int = 0) -> None:
        from tqdm import tqdm

        # Without a terminal (a log file) one line in half a minute is enough.
        quiet = not sys.stderr.isatty()
        self._bar = tqdm(total=total, initial=start, unit="step", desc="train", mininterval=30 if quiet else 0.1)

    def on_step(self, progress: Progress) -> None:
        """One step on."""
        self._bar.update(1)

    def on_line(self, progress: Progress, values: dict[str, float]) -> None:
        """Loss and learning rate."""
        self._bar.set_postfix(loss=f"{values['loss']:.4f}", lr=f"{values['lr']:.2e}", refresh=False)

    def on_epoch(self, progress: Progress, values: dict[str, float]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Leave the bar where it is."""
        self._bar.close()


def _memory() -> dict[str, float]:
    import torch

    if not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return {}
    return {"peak_memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 3)}
