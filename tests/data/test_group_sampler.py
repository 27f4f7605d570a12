"""Samples that belong together stay in one batch; the rest as in the plain sampler: covered, shuffled, resumable."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidalign.common.errors import ConfigError
from vidalign.common.sample import Sample
from vidalign.data.group_sampler import GroupSampler, group_of

TWINS = [name for name in "abcdefghijk" for _ in range(2)]


def sampler(**changes):
    return GroupSampler(TWINS, **{"batch_size": 4, "seed": 1, **changes})


@given(world=st.integers(1, 5), epoch=st.integers(0, 2))
def test_groups_stay_together_and_everything_is_seen(world, epoch):
    ranks = [sampler(rank=rank, world=world) for rank in range(world)]
    for one in ranks:
        one.set_epoch(epoch)
    taken = [list(one) for one in ranks]
    assert len({len(batches) for batches in taken}) == 1 and len(taken[0]) == len(ranks[0])
    for batch in (batch for batches in taken for batch in batches):
        assert len(batch) % 2 == 0
        assert all(first[0] // 2 == second[0] // 2 for first, second in zip(batch[::2], batch[1::2], strict=True))
    assert {index for batches in taken for batch in batches for index, _ in batch} == set(range(len(TWINS)))


def test_epochs_and_seeds_differ_and_repeat():
    def order(seed, epoch):
        one = sampler(seed=seed)
        one.set_epoch(epoch)
        return tuple(one.order())

    assert order(0, 1) == order(0, 1)
    assert len({order(seed, epoch) for seed in range(3) for epoch in range(3)}) == 9


@pytest.mark.parametrize("done", range(6))
def test_resumes_at_the_consumed_position(done):
    first = sampler()
    everything = list(first)
    for batch in everything[:done]:
        first.consume(len(batch))
    second = sampler()
    second.load_state_dict(first.state_dict())
    assert list(second) == everything[done:]


def test_another_number_of_ranks_goes_on_with_whole_groups():
    first = sampler(world=2)
    first.consume(6)
    third = sampler(world=5)
    third.load_state_dict(first.state_dict())
    assert third.consumed == 2


def test_what_cannot_be_grouped_is_told():
    with pytest.raises(ConfigError, match="no multiple of the groups' 2"):
        sampler(batch_size=5)
    with pytest.raises(ConfigError, match="groups of one size; 'k' has 1"):
        GroupSampler(TWINS[:-1], batch_size=4)
    alone = Sample(uid="d/s/1", dataset="d", split="s", task="retrieval")
    with pytest.raises(ConfigError, match="belongs to no group"):
        group_of(alone)
