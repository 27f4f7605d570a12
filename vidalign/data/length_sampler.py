"""Batches of texts of similar length, videos and texts apart (LLaVA's modality and length grouped sampler).

Specification video_panda, section 5. A length is positive for images and texts, negative for videos.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vidalign.common.rng import draw_seed
from vidalign.common.sample import Sample
from vidalign.data.sampler import TrainSampler

if TYPE_CHECKING:
    import torch


def signed_length(sample: Sample) -> int:
    """Words of a Sample's conversation, negative where it is about a video; never 0."""
    texts = [*sample.texts, *(text for text in (sample.question, sample.answer) if text)]
    words = max(sum(len(text.split()) for text in texts), 1)
    is_video = sample.media is not None and sample.media.kind != "frames"
    return -words if is_video else words


def grouped_order(lengths: Sequence[int], *, batch_size: int, world: int, seed: int) -> list[int]:
    """Sample indices, batch after batch; rank r takes the batches r, r + world, ...

    All lengths of one sign: shuffled, cut into blocks of world * batch_size, each sorted by signed length and dealt out
    to the ranks. Both signs: blocks of each, shuffled, incomplete ones dropped. [length_grouped_sampler]
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    if all(length > 0 for length in lengths) or all(length < 0 for length in lengths):
        return [index for block in _blocks(lengths, batch_size, world, generator) for index in block]
    whole = []
    for sign in (1, -1):
        chosen = [index for index, length in enumerate(lengths) if length * sign > 0]
        own = _blocks([abs(lengths[index]) for index in chosen], batch_size, world, generator)
        whole += [[chosen[i] for i in block] for block in own if len(block) == world * batch_size]
    return [index for number in torch.randperm(len(whole), generator=generator).tolist() for index in whole[number]]


def _blocks(lengths: Sequence[int], batch_size: int, world: int, generator: torch.Generator) -> list[list[int]]:
    import torch

    shuffled = torch.randperm(len(lengths), generator=generator).tolist()
    size = world * batch_size
    blocks = (shuffled[start : start + size] for start in range(0, len(shuffled), size))
    return [_dealt(sorted(block, key=lambda index: lengths[index], reverse=True), lengths, world) for block in blocks]


def _dealt(block: list[int], lengths: Sequence[int], world: int) -> list[int]:
    """The block in `world` equal parts of similar total length, one after the other.

    Kept: negative lengths make the shortest part the one that is filled already, so that the first rank gets the
    shortest texts. [length_grouped_sampler]
    """
    if len(block) % world:
        return [index for rank in range(world) for index in block[rank::world]]
    parts: list[list[int]] = [[] for _ in range(world)]
    totals: list[float] = [0] * world
    for index in block:
        place = totals.index(min(totals))
        parts[place].append(index)
        totals[place] += lengths[index]
        if len(parts[place]) == len(block) // world:
            totals[place] = float("inf")
    return [index for part in parts for index in part]


class LengthGroupedSampler(TrainSampler):
    """TrainSampler whose batches hold Samples of similar length, videos apart from texts.

    All batches are full: the order is filled up with its own beginning to whole batches for every rank.
    """

    def __init__(
        self, lengths: Sequence[int], *, batch_size: int, seed: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        super().__init__(len(lengths), batch_size=batch_size, seed=seed, rank=rank, world=world)
        self.lengths = list(lengths)
        step = batch_size * world
        signs = [sum(length * sign > 0 for length in lengths) for sign in (1, -1)]
        # Videos among texts: incomplete blocks of either are dropped, unless nothing would be left.
        self._mixed = all(signs) and any(count >= step for count in signs)
        kept = sum(count // step * step for count in signs) if self._mixed else -(-len(lengths) // step) * step
        self._per_rank = kept // world

    def order(self) -> list[int]:
        """This rank's sample indices of the current epoch, from its beginning."""
        seed = draw_seed(self.seed, self.epoch, "", "order")
        lengths = self.lengths if self._mixed else [abs(length) for length in self.lengths]
        if not self._mixed and all(length < 0 for length in self.lengths):
            lengths = self.lengths
        order = grouped_order(lengths, batch_size=self.batch_size, world=self.world, seed=seed)
        wanted = self._per_rank * self.world
        while len(order) < wanted:
            order += order[: wanted - len(order)]
        batches = [order[start : start + self.batch_size] for start in range(0, wanted, self.batch_size)]
        return [index for batch in batches[self.rank :: self.world] for index in batch]
