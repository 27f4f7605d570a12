"""Which Samples a process sees, and when. Both samplers yield batches of (index, epoch) for SampleDataset.

The order depends on (seed, epoch) only: not on the number of loader workers, not on a restart.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from vidalign.common.errors import TrainingError
from vidalign.common.io import content_key
from vidalign.common.rng import draw_seed
from vidalign.common.sample import Sample

Key = tuple[int, int]


class TrainSampler:
    """Batches of one training epoch for one rank; resumable at the position that was really consumed.

    All ranks have the same number of samples: the shuffled list is filled up with its own beginning to a multiple of
    `world`, as torch's DistributedSampler does, and dealt out in turn. The last batch may be smaller (nothing is
    dropped). The loader calls `consume` for every batch that it has handed over, so prefetched ones do not count.
    rows: what the samples are (`rows_key`), so that a run whose data was moved goes on with the same ones only.
    """

    rows = ""

    def __init__(self, num_samples: int, *, batch_size: int, seed: int = 0, rank: int = 0, world: int = 1) -> None:
        assert num_samples > 0 and batch_size > 0 and 0 <= rank < world, (num_samples, batch_size, rank, world)
        self.num_samples = num_samples
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world = world
        self.epoch = 0
        self.consumed = 0
        self._per_rank = math.ceil(num_samples / world)

    def __len__(self) -> int:
        """Batches of a whole epoch, the same on every rank."""
        return math.ceil(self._per_rank / self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Start epoch `epoch` from its beginning; staying in the current one keeps the position."""
        if epoch != self.epoch:
            self.epoch, self.consumed = epoch, 0

    @property
    def consumed_batches(self) -> int:
        """Batches of the current epoch that were handed over."""
        return math.ceil(self.consumed / self.batch_size)

    def consume(self, count: int) -> None:
        """Note that `count` samples of this rank were handed over."""
        self.consumed += count

    def order(self) -> list[int]:
        """This rank's sample indices of the current epoch, from its beginning."""
        import torch

        generator = torch.Generator().manual_seed(draw_seed(self.seed, self.epoch, "", "order"))
        shuffled = torch.randperm(self.num_samples, generator=generator).tolist()
        missing = self._per_rank * self.world - self.num_samples
        padded = shuffled + (shuffled * math.ceil(missing / self.num_samples))[:missing]
        return padded[self.rank :: self.world]

    def taken(self) -> list[list[Key]]:
        """The batches of this epoch that were handed over, in order."""
        mine = self.order()[: self.consumed]
        starts = range(0, len(mine), self.batch_size)
        return [[(index, self.epoch) for index in mine[start : start + self.batch_size]] for start in starts]

    def __iter__(self) -> Iterator[list[Key]]:
        mine = self.order()
        for start in range(self.consumed, len(mine), self.batch_size):
            yield [(index, self.epoch) for index in mine[start : start + self.batch_size]]

    def state_dict(self) -> dict[str, Any]:
        """Epoch and position (samples consumed by all ranks together), and what they are valid for."""
        return {
            "epoch": self.epoch,
            "consumed": self.consumed * self.world,
            "num_samples": self.num_samples,
            "seed": self.seed,
            "rows": self.rows,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken. Another number of ranks is allowed: the position is rounded down then.

        Another seed, another number of samples or other samples are a TrainingError: the position would mean others.
        """
        for name in ("num_samples", "seed", "rows"):
            # Earlier checkpoints do not say what the rows were.
            if state.get(name, getattr(self, name)) != getattr(self, name):
                raise TrainingError(
                    f"cannot resume: the checkpoint was made with {name} = {state[name]}, this run has "
                    f"{getattr(self, name)}; use the same data and seed, or start from its weights with run.checkpoint"
                )
        self.epoch = state["epoch"]
        self.consumed = state["consumed"] // self.world


def rows_key(samples: Iterable[Sample]) -> str:
    """Sixteen hex digits that name training samples by their uids and true answers, in order."""
    return content_key(*((one.uid, one.answer_idx, one.answer, one.label) for one in samples))


class EvalSampler:
    """Batches of one rank at evaluation: every sample exactly once over all ranks, in order, nothing padded.

    The list is cut into the same batches at any number of ranks, and whole batches are dealt out in turn: what a model
    says about a sample may depend on its batch in the last bit, so equal batches give equal records.
    Ranks may have different numbers of batches (also none); no collective may stand inside the loop.
    """

    def __init__(self, num_samples: int, *, batch_size: int, rank: int = 0, world: int = 1) -> None:
        assert batch_size > 0 and 0 <= rank < world, (batch_size, rank, world)
        self.num_samples = num_samples
        self.batch_size = batch_size
        self._place = slice(rank, None, world)
        self.set_done(())

    def __len__(self) -> int:
        """Batches of this rank."""
        return len(self._starts)

    def set_done(self, starts: Collection[int]) -> None:
        """Leave out the batches whose first samples are `starts` (a broken-off evaluation has their records)."""
        left = [start for start in range(0, self.num_samples, self.batch_size) if start not in starts]
        self._starts = left[self._place]

    def consume(self, count: int) -> None:
        """Nothing to note: the records on disk say what is done."""

    def __iter__(self) -> Iterator[list[Key]]:
        for start in self._starts:
            yield [(index, 0) for index in range(start, min(start + self.batch_size, self.num_samples))]


def padded_chunks(num_samples: int, world: int) -> list[list[int]]:
    """The samples of each rank as official evaluations deal them out: neighbouring ones, the last chunk filled up with
    the first samples again. Tells whose row is whose in features gathered by such a run. [frame_sampling]
    """
    size = -(-num_samples // world)
    return [[index % num_samples for index in range(rank * size, (rank + 1) * size)] for rank in range(world)]
