"""An evaluation that is killed and started again, also with another number of processes, ends in the same file."""

import os
import random

import pytest
from resume_runs import Run, make_runs

pytestmark = pytest.mark.slow
OPTIONS = ("run.eval_batch_size_per_gpu=2",)
ROUNDS = max(1, int(os.environ.get("VIDALIGN_KILLS", 12)) // 12)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_runs(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def straight(made, tmp_path_factory):
    out = tmp_path_factory.mktemp("straight")
    run = Run("evaluate", made, *OPTIONS, f"run.output_dir={out}")
    assert run.wait() == [0], run.err
    return out


def evaluated(path):
    return [line for line in path.read_text().splitlines()]


@pytest.mark.parametrize("round_number", range(ROUNDS))
@pytest.mark.parametrize("worlds", [(1, 1), (2, 1, 3), (1, 2)])
def test_killed_and_restarted(worlds, round_number, made, straight, tmp_path):
    out, told = tmp_path / "run", tmp_path / "told"
    chance = random.Random(round_number * 100 + sum(worlds))
    options = (*OPTIONS, f"run.output_dir={out}")
    for world in worlds[:-1]:
        own = {chance.randrange(world): {"KILL_AT": chance.randint(9, 12)}}
        run = Run("evaluate", made, *options, world=world, own=own, env={"EVAL_TRACE": told})
        assert -9 in run.wait(), run.err
        half = max(out.rglob(".val.*.jsonl"), key=lambda path: path.stat().st_size)
        with open(half, "a") as file:
            file.write('{"uid": "nextqa/val/1')  # torn, as when the machine goes down inside a write
    run = Run("evaluate", made, *options, world=worlds[-1], env={"EVAL_TRACE": told})
    assert run.wait() == [0] * worlds[-1], run.err
    for name in ("predictions/nextqa/val.jsonl", "metrics.json"):
        assert (out / name).read_bytes() == (straight / name).read_bytes(), name
    assert not list(out.rglob(".*"))
    batches = evaluated(told)
    assert len(set(batches)) == 14 and len(batches) < 14 * len(worlds), "finished batches are not done again"


def test_parts_of_other_weights_are_not_mixed_in(made, straight, tmp_path):
    told = tmp_path / "told"
    first = Run("evaluate", made, *OPTIONS, f"run.output_dir={tmp_path / 'run'}", env={"KILL_AT": 9})
    assert first.wait() == [-9], first.err
    other = Run(
        "evaluate", made, *OPTIONS, f"run.output_dir={tmp_path / 'run'}", "run.seed=1", env={"EVAL_TRACE": told}
    )
    assert other.wait() == [0], other.err
    assert len(evaluated(told)) == 14
    fresh = Run("evaluate", made, *OPTIONS, f"run.output_dir={tmp_path / 'fresh'}", "run.seed=1")
    assert fresh.wait() == [0], fresh.err
    name = "predictions/nextqa/val.jsonl"
    assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "fresh" / name).read_bytes()
    assert (tmp_path / "run" / name).read_bytes() != (straight / name).read_bytes()
