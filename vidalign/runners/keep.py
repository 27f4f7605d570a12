"""Checkpoint files of a run: when they are written, and which ones stay.

last.pt    the newest        best.pt    the best metric
step-00001200.pt   with run.keep_last > 1: the newest ones        epoch-0003.pt   with run.keep_every: for good

All are links to one file where the file system can do that: a state is written once.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidalign.checkpoint.save import save_checkpoint
from vidalign.runners.folder import RunFolder

if TYPE_CHECKING:
    from vidalign.config.schema import RunConfig


class Keeper:
    """Only the first process writes; `due` and `by_clock` may be asked anywhere."""

    def __init__(self, folder: RunFolder, run: RunConfig) -> None:
        self.folder, self.run = folder, run
        self._saved_at = time.monotonic()

    def due(self, step: int) -> bool:
        """Is a checkpoint due after this step by run.save_every_steps?"""
        return bool(self.run.save_every_steps) and step % self.run.save_every_steps == 0

    def by_clock(self) -> bool:
        """Is a checkpoint due by this process's clock? Clocks differ: the processes must agree."""
        minutes = self.run.save_every_minutes
        return bool(minutes) and time.monotonic() - self._saved_at >= 60 * minutes

    def save(self, content: dict[str, Any], *, better: bool = False, epochs: int | None = None) -> None:
        """Write `content` as last.pt and under every other name it deserves; epochs: how many are complete, if one just
        ended. CheckpointError when the disk is full; older files survive."""
        last, every = self.folder.last, self.run.keep_every
        names = ["best.pt"] if better else []
        names += [f"epoch-{epochs:04d}.pt"] if epochs and every and epochs % every == 0 else []
        names += [f"step-{content['step']:08d}.pt"] if self.run.keep_last > 1 else []
        # last.pt comes last: a run that goes on from it never makes these names again.
        save_checkpoint(last, content, also=names)
        self._prune()
        self._saved_at = time.monotonic()

    def tidy(self) -> None:
        """Remove half-written files of a run that was killed while saving."""
        root = self.folder.root
        for folder in (root, self.folder.last.parent, *self.folder.predictions.glob("*")):
            for leftover in folder.glob(".*.part"):
                leftover.unlink(missing_ok=True)

    def set_aside(self) -> Path | None:
        """run.resume=never: move the checkpoints of an earlier run to checkpoints.1, .2, ...; where they are now."""
        folder = self.folder.last.parent
        if not self.folder.last.is_file():
            return None
        number = 1
        while (target := folder.with_name(f"{folder.name}.{number}")).exists():
            number += 1
        return folder.rename(target)

    def _prune(self) -> None:
        files = sorted(self.folder.last.parent.glob("step-*.pt"))
        for old in files[: -self.run.keep_last] if self.run.keep_last > 1 else files:
            old.unlink()
