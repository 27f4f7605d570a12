"""Loader: sampler + SampleDataset -> batches, with workers; errors come out as one clear message."""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing.context import BaseContext
from typing import Any

import torch
from torch.utils.data import DataLoader, get_worker_info

from vidalign.data.dataset import SampleDataset, Stop
from vidalign.data.sampler import EvalSampler, TrainSampler
from vidalign.data.workers import dead_worker_told, prepare_worker, sendable, worker_context


def make_loader(
    dataset: SampleDataset,
    sampler: TrainSampler | EvalSampler,
    *,
    num_workers: int = 0,
    pin_memory: bool = False,
) -> Loader:
    """Batches of `dataset` in the sampler's order, prepared by `num_workers` processes (0: in this one).

    What workers need is sent to them: many samples as shared memory, readers and feature files by their paths.
    """
    return Loader(dataset, sampler, num_workers=num_workers, pin_memory=pin_memory)


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
    ) -> None:
        self.dataset = dataset
        self.sampler = sampler
        started = worker_context() if num_workers else None
        self._noting = _Noting(dataset, num_workers, started)
        self._last_taken: list[str] = []
        self._loader = DataLoader(
            self._noting,
            batch_sampler=sampler,
            num_workers=num_workers,
            collate_fn=self._noting.collate,
            pin_memory=pin_memory,
            persistent_workers=num_workers > 0,
            multiprocessing_context=started,
            worker_init_fn=prepare_worker if num_workers else None,
            # torch draws a number per epoch for its workers; not from the generator whose state a checkpoint holds.
            generator=torch.Generator(),
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
                self._last_taken = batch["uids"]
                yield batch
            finished = True
        finally:
            # After an error, or when the caller leaves early; torch would wait for its workers for seconds.
            if not finished:
                self.close()

    def _prepared(self) -> Iterator[dict[str, Any] | Stop]:
        with dead_worker_told():
            with sendable():
                batches = iter(self._loader)
            yield from batches

    def usable_before(self) -> Any | None:
        """The last batch handed over in this epoch that has a usable sample, made again in this process.

        A run that goes on inside an epoch asks for it when its first batch fails completely; None when there is none.
        """
        for keys in reversed(self.sampler.taken()[:-1]):
            batch = self.dataset.collate([self.dataset[key] for key in keys])
            if isinstance(batch, Stop):
                raise batch.error
            if batch["batch"] is not None:
                return batch["batch"]
        return None

    def worker_pids(self) -> list[int]:
        """Process ids of the workers that were started."""
        workers = getattr(self._loader._iterator, "_workers", None) or []
        return [worker.pid for worker in workers]

    def in_flight(self) -> list[str]:
        """One line per worker that prepares a sample now, and the batch that was taken last; for a hang report."""
        lines = [f"last batch taken: {', '.join(self._last_taken) or 'none'}"]
        for number, index in enumerate(self._noting.now):
            if index >= 0:
                where = self.dataset.where(index) if hasattr(self.dataset, "where") else f"sample {index}"
                lines.append(f"being loaded by worker {number}: {where}")
        return lines

    def close(self) -> None:
        """End the workers now instead of at exit."""
        iterator = self._loader._iterator
        if iterator is not None and hasattr(iterator, "_shutdown_workers"):
            iterator._shutdown_workers()
        self._loader._iterator = None


class _Noting:
    """The dataset; notes in shared memory which sample each worker is at (-1: none)."""

    def __init__(self, dataset: Any, num_workers: int, context: BaseContext | None) -> None:
        self.dataset = dataset
        none = [-1] * max(num_workers, 1)
        self.now = context.RawArray("q", none) if context is not None else none

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: tuple[int, int]) -> Any:
        worker = get_worker_info()
        place = worker.id if worker else 0
        self.now[place] = key[0]
        item = self.dataset[key]
        self.now[place] = -1
        return item

    def collate(self, entries: list[Any]) -> Any:
        """The dataset's."""
        return self.dataset.collate(entries)
