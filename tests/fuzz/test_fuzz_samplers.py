"""Samplers that are stopped again and again, at any moment, at any number of processes."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from vidalign.data.sampler import EvalSampler, TrainSampler

quick = settings(max_examples=60, deadline=None)  # the machine may be busy


@quick
@given(
    n=st.integers(1, 80),
    batch=st.integers(1, 9),
    world=st.integers(1, 4),
    epoch=st.integers(0, 5),
    stops=st.lists(st.integers(0, 6), max_size=8),
)
def test_an_epoch_in_pieces_is_the_epoch(n, batch, world, epoch, stops):
    """Killed after so many batches, resumed from the state, killed again ...: the same batches in the same order."""
    for rank in range(world):
        settings_of = {"batch_size": batch, "seed": 11, "rank": rank, "world": world}
        whole = TrainSampler(n, **settings_of)
        whole.set_epoch(epoch)
        wanted, taken, sampler = list(whole), [], TrainSampler(n, **settings_of)
        sampler.set_epoch(epoch)
        for stop in (*stops, len(wanted)):
            for keys in [keys for _, keys in zip(range(stop), sampler, strict=False)]:
                sampler.consume(len(keys))
                taken.append(keys)
            state = sampler.state_dict()
            sampler = TrainSampler(n, **settings_of)
            sampler.load_state_dict(state)
            sampler.set_epoch(epoch)
        assert taken == wanted


@quick
@given(
    n=st.integers(1, 60),
    first=st.tuples(st.integers(1, 4), st.integers(1, 6)),
    second=st.tuples(st.integers(1, 4), st.integers(1, 6)),
    steps=st.integers(0, 20),
)
def test_another_number_of_processes_leaves_nothing_out(n, first, second, steps):
    """Every sample of the epoch is seen before or after; twice at most where the position was rounded down."""
    seen: Counter = Counter()
    for rank in range(first[0]):
        sampler = TrainSampler(n, batch_size=first[1], seed=2, rank=rank, world=first[0])
        for keys in [keys for _, keys in zip(range(steps), sampler, strict=False)]:
            sampler.consume(len(keys))
            seen.update(index for index, _ in keys)
        state = sampler.state_dict()
    for rank in range(second[0]):
        sampler = TrainSampler(n, batch_size=second[1], seed=2, rank=rank, world=second[0])
        sampler.load_state_dict(state)
        seen.update(index for keys in sampler for index, _ in keys)
    assert set(seen) == set(range(n))
    padding = -n % first[0] + -n % second[0]
    assert sum(seen.values()) <= n + padding + second[0]


@quick
@given(n=st.integers(0, 80), batch=st.integers(1, 9), worlds=st.lists(st.integers(1, 6), min_size=2, max_size=4))
def test_evaluation_has_the_same_batches_at_any_number_of_processes(n, batch, worlds):
    sets = [
        {tuple(keys) for rank in range(world) for keys in EvalSampler(n, batch_size=batch, rank=rank, world=world)}
        for world in worlds
    ]
    assert all(one == sets[0] for one in sets)
    assert sorted(index for keys in sets[0] for index, _ in keys) == list(range(n))
