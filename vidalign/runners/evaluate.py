"""The one evaluation loop: prediction records of every sample, exactly one each at any number of processes.

No collective stands inside the loop: each process appends to a file of its own (eval_parts.py), so that a broken-off
evaluation goes on where it stopped; afterwards the first one merges them, checks them against the sample list and
writes predictions/<dataset>/<split>.jsonl in sample order (and <split>_submission.json where a server has the answers).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidalign.common import dist
from vidalign.common.errors import DataError, UserError
from vidalign.common.io import atomic_write
from vidalign.common.output import to_device
from vidalign.common.record import Record, finite_or_failed
from vidalign.common.sample import DatasetInfo, Sample
from vidalign.runners.distributed import from_main, unwrap
from vidalign.runners.eval_parts import PartFiles, cannot_write
from vidalign.scoring.match import exactly_one_each
from vidalign.scoring.submission import write_submission

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class EvalSet:
    """One split to evaluate: its name in the config, its samples, and this process's part of it as a loader."""

    dataset: str
    split: str
    samples: Sequence[Sample]
    info: DatasetInfo
    loader: Iterable[dict[str, Any]]

    @property
    def name(self) -> str:
        """`<dataset>/<split>`, the key in metrics.json."""
        return f"{self.dataset}/{self.split}"


def evaluate(
    model: nn.Module,
    task: Any,
    eval_set: EvalSet,
    *,
    folder: Path,
    device: torch.device | str = "cpu",
    key: str = "0",
    on_batch: Callable[[], None] = lambda: None,
    scoring: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> tuple[list[Record], dict[str, float]]:
    """Predict a whole split; returns (records in sample order, metrics), the same on every process.

    folder: the run's `predictions` folder. key: hexadecimal, names everything that decides the records; what an earlier
    evaluation of the same key has finished is not done again. The parts stay until `part_files(...).remove()`.
    on_batch: called after each batch is on disk. scoring: around what comes after the last batch. Raises DataError when
    records and samples do not match one to one, and what the task's metrics raise.
    """
    parts = part_files(folder, eval_set, key)
    path = parts.path
    if hasattr(task, "begin"):
        task.begin(path, key, eval_set.samples)
    sampler = getattr(eval_set.loader, "sampler", None)
    done = parts.begin(eval_set.samples, batch_size=sampler.batch_size if sampler else None)
    if sampler is not None:
        sampler.set_done(done)
    try:
        with parts.open() as file:
            for records in predict(model, task, eval_set, device=device):
                parts.write(file, records)
                on_batch()
    except OSError as error:
        raise cannot_write(path.parent, error) from error
    # From here on the processes meet again: first to know that all parts are written, then to share the result.
    with scoring():
        dist.barrier()
        outcome = from_main(partial(_scored, parts, task, eval_set))
    if isinstance(outcome, UserError):
        raise outcome
    return outcome


def _scored(parts: PartFiles, task: Any, eval_set: EvalSet) -> tuple[list[Record], dict[str, float]] | UserError:
    """All parts as one file, and the metrics. An error is handed back, so that it can be raised on every process;
    alone it would leave the others waiting."""
    samples, path = eval_set.samples, parts.path
    try:
        by_uid = exactly_one_each(parts.records(), samples)
        records = [by_uid[sample.uid] for sample in samples]
        _write(path, records)
        if eval_set.info.submission and any(sample.answer_idx is None for sample in samples):
            write_submission(eval_set.info.submission, records, samples, folder=path.parent, split=eval_set.split)
        return records, task.metrics(records, samples, eval_set.info)
    except OSError as error:
        return cannot_write(path, error)
    except UserError as error:
        return error


def part_files(folder: Path, eval_set: EvalSet, key: str) -> PartFiles:
    """Where the split's records are while it is evaluated."""
    return PartFiles(folder / eval_set.dataset / f"{eval_set.split}.jsonl", key)


def predict(
    model: nn.Module, task: Any, eval_set: EvalSet, *, device: torch.device | str = "cpu"
) -> Iterator[list[Record]]:
    """This process's records, batch by batch: failed media and predictions with NaN as failed records, notes as reasons
    of usable ones."""
    answers = {sample.uid: sample.answer_idx for sample in eval_set.samples}
    model = unwrap(model)
    was_training = model.training
    model.eval()
    try:
        for entry in eval_set.loader:
            failed = [
                Record(uid=one.uid, status="failed", reason=one.reason, answer_idx=answers.get(one.uid))
                for one in entry["failures"]
            ]
            yield failed + _batch_records(model, task, entry, device)
    finally:
        model.train(was_training)


def _batch_records(model: nn.Module, task: Any, entry: dict[str, Any], device: torch.device | str) -> list[Record]:
    import torch

    if entry["batch"] is None:
        return []
    # no_grad, not inference_mode: what a model caches here (rotary tables) must serve the next training step too.
    with torch.no_grad():
        records = task.predict(model, to_device(entry["batch"], device))
    return [_annotated(finite_or_failed(record), entry) for record in records]


def _annotated(record: Record, entry: dict[str, Any]) -> Record:
    """A record with what the media loader has to say about its sample."""
    note = entry.get("notes", {}).get(record.uid)
    reasons = [text for text in (note, record.reason) if text]
    kept = entry.get("kept_frames", {}).get(record.uid)
    if kept and record.kept_positions is not None:
        # Frames that repeat the last one count as it.
        kept = tuple(kept[min(position, len(kept) - 1)] for position in record.kept_positions)
    return replace(record, reason="; ".join(reasons) or None, kept_frames=kept or record.kept_frames)


def read_records(path: Path) -> list[Record]:
    """The records of a predictions file."""
    try:
        return [Record.from_json(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{path}: not a file of prediction records: {error}") from error


def _write(path: Path, records: Iterable[Record]) -> None:
    with atomic_write(path) as file:
        file.writelines(record.to_json() + "\n" for record in records)
