"""Killed at random moments, while saving too, and started again: the end is the end of the undisturbed run.

VIDALIGN_KILLS=50 turns the number of kills up (over all cases together).
"""

import os
import random
import time
from pathlib import Path

import pytest
from resume_runs import OPTIONS, Run, lines, make_runs, same_end, trace

KILLS = int(os.environ.get("VIDALIGN_KILLS", 12))
CASES = [(1, 0), (1, 2), (2, 0), (2, 2)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_runs(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def straight(made, tmp_path_factory):
    """World size -> (folder, trace, number of events) of the undisturbed run."""
    done = {}

    def run(world):
        if world not in done:
            folder = tmp_path_factory.mktemp(f"straight{world}")
            env = {"TRACE": folder / "trace", "COUNT": folder / "count"}
            started = Run("train", made, *OPTIONS, f"run.output_dir={folder / 'run'}", world=world, env=env)
            assert started.wait() == [0] * world, started.err
            done[world] = folder / "run", trace(folder / "trace"), int((folder / "count").read_text())
        return done[world]

    return run


def no_step_twice(folder):
    rows = [(row["kind"], row["step"], row.get("split")) for row in lines(folder / "metrics.jsonl")]
    assert len(rows) == len(set(rows))


@pytest.mark.slow
@pytest.mark.parametrize(("world", "workers"), CASES)
def test_killed_runs_end_like_the_undisturbed_one(world, workers, made, straight, tmp_path):
    expected, order, events = straight(world)
    seed = 100 * world + workers
    chance = random.Random(seed)
    left = max(1, KILLS // len(CASES))
    attempt = 0
    while left > 0:
        attempt += 1
        assert attempt < 20 * KILLS, "the kills do not hit"
        folder = tmp_path / f"run{attempt}"
        options = (*OPTIONS, f"run.num_workers={workers}", f"run.output_dir={folder / 'run'}")
        env = {"TRACE": folder / "trace"}
        folder.mkdir()
        finished = False
        while not finished:
            # At an event (mostly file operations of a save), or at any time, or in peace when all kills are done.
            kind = chance.choice(("event", "event", "time")) if left > 0 else "peace"
            victim = chance.randrange(world)
            own = {victim: {"KILL_AT": chance.randint(1, events)}} if kind == "event" else {}
            run = Run("train", made, *options, world=world, env=env, own=own)
            if kind == "time":
                time.sleep(chance.uniform(2, 10))
                run.kill()
            codes = run.wait()
            killed = any(code == -9 for code in codes)
            assert killed or codes == [0] * world, f"seed {seed}: {run.err}"
            left -= killed
            finished = not killed
        same_end(expected, folder / "run")
        no_step_twice(folder / "run")
        assert trace(folder / "trace") == order


@pytest.mark.slow
def test_killed_at_every_file_operation_of_a_save(made, straight, tmp_path):
    """One restart after the other, each killed a few events further on: every place inside a save is hit."""
    expected, _, _ = straight(1)
    options = (*OPTIONS, "run.keep_last=2", "run.keep_every=1", f"run.output_dir={tmp_path / 'run'}")
    for kill_at in (2, 3, 5, 6, 7, 8, 9, 10):
        run = Run("train", made, *options, env={"KILL_AT": kill_at})
        assert run.wait() == [-9], run.err
    run = Run("train", made, *options)
    assert run.wait() == [0], run.err
    same_end(expected, tmp_path / "run")
    names = sorted(path.name for path in Path(tmp_path / "run/checkpoints").iterdir())
    assert names == ["best.pt", "epoch-0001.pt", "epoch-0002.pt", "last.pt", "step-00000007.pt", "step-00000008.pt"]
