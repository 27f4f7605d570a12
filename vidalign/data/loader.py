"""Loader: sampler + SampleDataset -> batches, with workers; errors come out as one clear message."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader

from vidalign.common.errors import TrainingError
from vidalign.data.dataset import SampleDataset, Stop
from vidalign.data.sampler import EvalSampler, TrainSampler


def make_loader(
    dataset: SampleDataset,
    sampler: TrainSampler | EvalSampler,
    *,
    num_workers: int = 0,
    pin_memory: bool = False,
    context: str | None = None,
) -> Loader:
    """Batches of `dataset` in the sampler's order, prepared by `num_workers` processes (0: in this one).

    context: how workers are started. null takes "fork" on Linux: the sample list is shared, nothing is imported again,
    and it is safe because readers and feature files are opened in the worker only. "spawn" works too.
    """
    return Loader(dataset, sampler, num_workers=num_workers, pin_memory=pin_memory, context=context)


class Loader:
    """Iterable over collated batches (see SampleDataset.collate); `len` is the sampler's, a whole epoch.

    After each batch that the caller took, the sampler is told, so that a checkpoint holds the consumed position.
    """

    def __init__(
        self,
        dataset: SampleDataset,
        sampler: TrainSampler | EvalSampler,
        *,
        num_workers: int,
        pin_memory: bool,
        context: str | None,
    ) -> None:
        self.dataset = dataset
        self.sampler = sampler
        default = "fork" if sys.platform.startswith("linux") else "spawn"
        self._loader = DataLoader(
            dataset,
            batch_sampler=sampler,
            num_workers=num_workers,
            collate_fn=dataset.collate,
            pin_memory=pin_memory,
            persistent_workers=num_workers > 0,
            multiprocessing_context=(context or default) if num_workers else None,
            worker_init_fn=_own_group if num_workers else None,
        )

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        finished = False
        try:
            for batch in self._prepared():
                if isinstance(batch, Stop):
                    raise batch.error
                # Before the yield: whoever saves a checkpoint after this batch must find it counted.
                self.sampler.consume(len(batch["uids"]))
                yield batch
            finished = True
        finally:
            # After an error, or when the caller leaves early; torch would wait for its workers for seconds.
            if not finished:
                self.close()

    def _prepared(self) -> Iterator[dict[str, Any] | Stop]:
        try:
            yield from self._loader
        except RuntimeError as error:
            # torch's words for a worker that vanished; any other RuntimeError is passed on.
            if "exited unexpectedly" in str(error) or "is killed by signal" in str(error):
                raise _dead_worker(error) from error
            raise

    def close(self) -> None:
        """End the workers now instead of at exit."""
        iterator = self._loader._iterator
        if iterator is not None and hasattr(iterator, "_shutdown_workers"):
            iterator._shutdown_workers()
        self._loader._iterator = None


def _own_group(worker: int) -> None:
    """A signal for the whole process group (Ctrl-C, a scheduler's SIGTERM) must reach the main process only.

    It saves a checkpoint first and needs its workers until then; they end when it ends.
    """
    if hasattr(os, "setpgrp"):
        os.setpgrp()


def _dead_worker(error: RuntimeError) -> TrainingError:
    why = str(error).strip().splitlines()[0]
    return TrainingError(
        f"a loader worker died ({why}). The usual cause is memory: lower run.num_workers or the batch size; with "
        "run.num_workers=0 the loading runs in the main process and shows the real error"
    )
