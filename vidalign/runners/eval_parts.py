"""Records of an evaluation under way: one file per process beside the final one, kept until the results are safe.

predictions/<dataset>/.<split>.<key>.<rank>.jsonl, flushed to disk after each batch. `key` names model, weights, data
and task, so parts of another run or another state of the weights are never mixed in. A restart, with any number of
processes, evaluates only batches that are not complete in some part. What a task keeps beside its records
(.<split>.<key>.<name>.f32, scoring/embeddings.py) lives as long as they do.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from vidalign.common import dist
from vidalign.common.errors import DataError
from vidalign.common.io import atomic_write, content_key
from vidalign.common.record import Record
from vidalign.common.sample import Sample
from vidalign.runners.distributed import gather_objects

if TYPE_CHECKING:
    from torch import nn

    from vidalign.config.schema import Experiment

DONE = "done"


class PartFiles:
    """The parts of one split's predictions file `path` that belong to `key`."""

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key
        stem = rf"\.{re.escape(path.stem)}\.([0-9a-f]+)\."
        self._pattern = re.compile(rf"{stem}({DONE}|\d+)\.jsonl")
        self._beside = re.compile(rf"{stem}\w+\.f32")

    def begin(self, samples: Sequence[Sample], *, batch_size: int | None) -> list[int]:
        """Sort what earlier processes left behind; returns the first indices of the batches that are complete.

        batch_size None: the batches are unknown, everything starts over. All processes must call this.
        """
        starts: Any = None
        if dist.is_main():
            try:
                starts = self._sorted(samples, batch_size)
            except OSError as error:
                starts = cannot_write(self.path.parent, error)
        starts = gather_objects(starts)[0]
        if isinstance(starts, DataError):
            raise starts
        return starts

    def open(self) -> IO[str]:
        """This process's own part, empty."""
        return open(self._file(dist.rank()), "w", encoding="utf-8")

    def write(self, file: IO[str], records: Iterable[Record]) -> None:
        """Append a batch; on disk when this returns."""
        file.write("".join(record.to_json() + "\n" for record in records))
        file.flush()
        os.fsync(file.fileno())

    def records(self) -> list[Record]:
        """Everything in the parts."""
        return [record for _, file in self._files(self.key) for record in whole_lines(file)]

    def remove(self) -> None:
        """Remove the parts and what is kept beside them, those of other keys too."""
        # The parts first: killed in between, a restart must not find records without what belongs to them.
        for _, file in [*self._files(), *self._files(pattern=self._beside)]:
            file.unlink(missing_ok=True)

    def _sorted(self, samples: Sequence[Sample], batch_size: int | None) -> list[int]:
        """Complete batches of all parts move into one file; incomplete ones and foreign parts go."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        found = {record.uid: record for record in self.records()} if batch_size else {}
        uids = [sample.uid for sample in samples]
        step = batch_size or 1
        starts = [s for s in range(0, len(uids), step) if all(uid in found for uid in uids[s : s + step])]
        kept = [found[uid] for start in starts for uid in uids[start : start + step]]
        with atomic_write(self._file(DONE)) as file:
            file.writelines(record.to_json() + "\n" for record in kept)
        for key, file in self._files():
            if key != self.key or file != self._file(DONE):
                file.unlink()
        for key, file in self._files(pattern=self._beside):
            if key != self.key:
                file.unlink()
        return starts

    def _file(self, owner: int | str) -> Path:
        return self.path.with_name(f".{self.path.stem}.{self.key}.{owner}.jsonl")

    def _files(self, key: str | None = None, pattern: re.Pattern[str] | None = None) -> list[tuple[str, Path]]:
        """(key, file) of the parts, or of other files."""
        found = [
            ((pattern or self._pattern).fullmatch(file.name), file) for file in sorted(self.path.parent.glob(".*"))
        ]
        return [(match[1], file) for match, file in found if match and key in (None, match[1])]


def whole_lines(file: Path) -> list[Record]:
    """The records of a part; a line that was torn when its process died is left out."""
    records = []
    for line in file.read_bytes().splitlines():
        try:
            records.append(Record.from_json(line.decode("utf-8")))
        except (ValueError, TypeError):
            continue  # its batch is evaluated again
    return records


def cannot_write(path: Path, error: OSError) -> DataError:
    """What is told when records cannot be put on disk."""
    return DataError(
        f"{path}: prediction records cannot be written: {error.strerror or error}. Free some space or choose another "
        "run.output_dir; finished batches are kept and the same command goes on from them"
    )


def evaluation_key(experiment: Experiment, model: nn.Module, *, dataset: str, samples: Sequence[Sample]) -> str:
    """Names what decides the records of a split: configs, base weights by path, trained weights by content, samples.

    Equal on all processes (the first one computes it).
    """
    key = None
    if dist.is_main():
        run = experiment.run
        # A score's last bit may depend on its batch and its device.
        batch = run.eval_batch_size_per_gpu or run.batch_size_per_gpu
        device = next(model.parameters()).device.type
        key = content_key(
            asdict(experiment.model),
            asdict(experiment.datasets[dataset]),
            asdict(experiment.task),
            [run.seed, run.precision, batch, device, run.checkpoint, _stat(run.checkpoint)],
            _digest(model),
            [repr(sample) for sample in samples],
        )
    return gather_objects(key)[0]


def _stat(path: str | None) -> list[int]:
    """Size and time of a checkpoint file; it may hold frozen weights, which are not digested."""
    if path is None:
        return []
    found = os.stat(path)
    return [found.st_size, found.st_mtime_ns]


def _digest(model: nn.Module) -> str:
    """Content of the trained weights."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in model.export_state().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
