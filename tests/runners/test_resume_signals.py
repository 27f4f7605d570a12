"""SIGTERM and Ctrl-C: saved within one step, all processes together, the documented exit code, and on it goes."""

import signal

import pytest
from resume_runs import OPTIONS, Run, make_runs, same_end, trace, wait_for

from vidalign.checkpoint.load import read_checkpoint

pytestmark = pytest.mark.slow
CLOCK_ONLY = (*OPTIONS, "run.save_every_steps=0")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_runs(tmp_path_factory.mktemp("made"))


def count(path):
    return len(path.read_text().splitlines()) if path.is_file() else 0


@pytest.mark.parametrize(
    ("world", "number", "to", "workers"),
    [(1, signal.SIGTERM, [0], 2), (1, signal.SIGINT, [0], 0), (2, signal.SIGTERM, [1], 0)],
)
def test_a_signal_saves_within_one_step(world, number, to, workers, made, tmp_path):
    out, told = tmp_path / "run", tmp_path / "trace"
    options = (*CLOCK_ONLY, f"run.num_workers={workers}", f"run.output_dir={out}")
    run = Run("train", made, *options, world=world, env={"TRACE": told, "SLOW": 0.3})
    wait_for(lambda: count(told) >= 4 * world)
    before = count(told) // world
    for rank in to:
        run.processes[rank].send_signal(number)
    assert run.finish() == [128 + number] * world, run.err
    assert f"stopped: {number.name}: saved after step" in run.err and "Traceback" not in run.err
    content = read_checkpoint(out / "checkpoints/last.pt")
    assert content["iteration"] == 3 * content["step"] and before <= content["iteration"] <= before + 4
    assert content["sampler"]["consumed"] == 2 * world * content["iteration"]

    again = Run("train", made, *options, world=world, env={"TRACE": told})
    assert again.wait() == [0] * world, again.err
    undisturbed = Run("train", made, *CLOCK_ONLY, f"run.output_dir={tmp_path / 'other'}", world=world)
    assert undisturbed.wait() == [0] * world, undisturbed.err
    same_end(tmp_path / "other", out)
    assert trace(told)


def test_a_signal_inside_an_evaluation_loses_no_training(made, tmp_path):
    out, told, evaluated = tmp_path / "run", tmp_path / "trace", tmp_path / "evaluated"
    options = (*CLOCK_ONLY, "run.max_epochs=1", "run.schedule.warmup_epochs=0", f"run.output_dir={out}")
    env = {"TRACE": told, "EVAL_TRACE": evaluated, "SLOW": 0.2}
    run = Run("train", made, *options, env=env)
    wait_for(lambda: count(evaluated) >= 3)
    run.send(signal.SIGTERM)
    assert run.finish() == [143], run.err
    assert "inside the evaluation of nextqa/val" in run.err
    trained, seen = count(told), count(evaluated)
    again = Run("train", made, *options, env=env)
    assert again.wait() == [0], again.err
    assert (trained, count(told)) == (14, 14), "not a batch was trained again"
    assert count(evaluated) == 14 and seen < 14, "each batch was evaluated once"
    other = (*options[:-1], f"run.output_dir={tmp_path / 'other'}")
    undisturbed = Run("train", made, *other)
    assert undisturbed.wait() == [0], undisturbed.err
    same_end(tmp_path / "other", out)
