"""Samplers: order by (seed, epoch) alone, equal steps on every rank, exact resumption, exactly-once evaluation."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidalign.common.errors import TrainingError
from vidalign.data.sampler import EvalSampler, TrainSampler

sizes = st.integers(1, 60)
batches = st.integers(1, 9)
worlds = st.integers(1, 5)


def flat(sampler: TrainSampler | EvalSampler) -> list[tuple[int, int]]:
    return [key for batch in sampler for key in batch]


@given(n=sizes, batch=batches, world=worlds, epoch=st.integers(0, 3))
def test_training_covers_everything_and_pads_like_torch(n: int, batch: int, world: int, epoch: int) -> None:
    ranks = [TrainSampler(n, batch_size=batch, seed=3, rank=r, world=world) for r in range(world)]
    for sampler in ranks:
        sampler.set_epoch(epoch)
    taken = [list(sampler) for sampler in ranks]
    assert len({len(t) for t in taken}) == 1 and len(taken[0]) == len(ranks[0]), "the same number of steps everywhere"
    assert len({tuple(map(len, t)) for t in taken}) == 1, "and the same batch sizes"
    count = Counter(index for t in taken for b in t for index, e in b if e == epoch)
    assert set(count) == set(range(n))
    assert sum(count.values()) == -(-n // world) * world


@given(n=st.integers(8, 60), world=worlds)
def test_ranks_deal_out_one_order(n: int, world: int) -> None:
    whole = TrainSampler(n, batch_size=1, seed=5).order()
    parts = [TrainSampler(n, batch_size=1, seed=5, rank=r, world=world).order() for r in range(world)]
    dealt = [index for group in zip(*parts, strict=True) for index in group]
    assert dealt[:n] == whole


def test_epochs_and_seeds_differ_and_repeat() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        sampler = TrainSampler(50, batch_size=4, seed=seed)
        sampler.set_epoch(epoch)
        return sampler.order()

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


@given(n=sizes, batch=batches, world=worlds, data=st.data())
def test_resumes_at_the_consumed_position(n: int, batch: int, world: int, data: st.DataObject) -> None:
    first = TrainSampler(n, batch_size=batch, seed=1, rank=world - 1, world=world)
    first.set_epoch(2)
    everything = list(first)
    stop = data.draw(st.integers(0, len(everything)))
    for done in everything[:stop]:
        first.consume(len(done))
    again = TrainSampler(n, batch_size=batch, seed=1, rank=world - 1, world=world)
    again.load_state_dict(first.state_dict())
    again.set_epoch(2)
    assert list(again) == everything[stop:]
    assert again.consumed_batches == stop
    again.set_epoch(3)
    assert len(flat(again)) == len(again.order())


def test_another_world_goes_on_at_the_same_samples() -> None:
    one = TrainSampler(24, batch_size=4, seed=1)
    one.consume(8)
    two = [TrainSampler(24, batch_size=2, seed=1, rank=r, world=2) for r in range(2)]
    for sampler in two:
        sampler.load_state_dict(one.state_dict())
    assert {key for sampler in two for key in flat(sampler)} == set(flat(one))


@pytest.mark.parametrize("change", [{"seed": 2}, {"num_samples": 25}])
def test_another_dataset_or_seed_is_refused(change: dict) -> None:
    state = TrainSampler(24, batch_size=4, seed=1).state_dict()
    arguments = {"num_samples": 24, "seed": 1, "batch_size": 4} | change
    with pytest.raises(TrainingError, match="cannot resume"):
        TrainSampler(arguments.pop("num_samples"), **arguments).load_state_dict(state)


@given(n=st.integers(0, 40), batch=batches, world=worlds)
def test_evaluation_is_exactly_once(n: int, batch: int, world: int) -> None:
    ranks = [EvalSampler(n, batch_size=batch, rank=r, world=world) for r in range(world)]
    assert sorted(key for sampler in ranks for key in flat(sampler)) == [(i, 0) for i in range(n)]
    assert all(len(sampler) == len(list(sampler)) for sampler in ranks)
