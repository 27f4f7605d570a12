"""Batches in which samples that belong together stay together, e.g. a video and its twin in another order.

A dataset declares a group by an equal `meta["group"]`; all groups must have one size.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

from vidalign.common.errors import ConfigError
from vidalign.common.rng import draw_seed
from vidalign.common.sample import Sample
from vidalign.data.sampler import TrainSampler


def group_of(sample: Sample) -> Hashable:
    """The group of a Sample; ConfigError where its dataset declares none."""
    if "group" not in sample.meta:
        raise ConfigError(
            f"run.sampler: grouped, but {sample.uid} belongs to no group (meta group); write shuffle for this dataset"
        )
    return sample.meta["group"]


class GroupSampler(TrainSampler):
    """A TrainSampler that shuffles whole groups and deals them out to the ranks; order by (seed, epoch) alone.

    groups: the group of every sample. ConfigError when groups differ in size or do not fill batches.
    """

    def __init__(
        self, groups: Sequence[Hashable], *, batch_size: int, seed: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        members: dict[Hashable, list[int]] = {}
        for index, group in enumerate(groups):
            members.setdefault(group, []).append(index)
        self._members = list(members.values())
        self._size = len(self._members[0])
        odd = next((name for name, own in members.items() if len(own) != self._size), None)
        if odd is not None:
            raise ConfigError(
                f"run.sampler: grouped needs groups of one size; {odd!r} has {len(members[odd])} samples, the first "
                f"group {self._size}; is max_samples or train_share cutting one in two?"
            )
        if batch_size % self._size:
            raise ConfigError(
                f"run.batch_size_per_gpu: {batch_size} is no multiple of the groups' {self._size} samples "
                "(run.sampler: grouped); choose a multiple"
            )
        super().__init__(len(groups), batch_size=batch_size, seed=seed, rank=rank, world=world)
        self._per_rank = math.ceil(len(self._members) / world) * self._size

    def order(self) -> list[int]:
        """This rank's sample indices of the current epoch, group after group."""
        import torch

        generator = torch.Generator().manual_seed(draw_seed(self.seed, self.epoch, "", "group order"))
        shuffled = torch.randperm(len(self._members), generator=generator).tolist()
        missing = self._per_rank // self._size * self.world - len(shuffled)
        padded = shuffled + (shuffled * math.ceil(missing / len(shuffled)))[:missing]
        return [index for number in padded[self.rank :: self.world] for index in self._members[number]]

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As TrainSampler; with another number of ranks the position is rounded down to whole groups."""
        super().load_state_dict(state)
        self.consumed -= self.consumed % self._size
