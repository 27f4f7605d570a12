"""Every task with every model that can do it: an evaluation that is killed at random moments and goes on with another
number of processes ends in the files of the undisturbed one."""

import os
import random

import pytest
from every_run import PAIRS, ROWS, SETTINGS, make_data, write_config
from forked_runs import forked

from vidalign.registry import MODELS, TASKS

pytestmark = pytest.mark.slow
ROUNDS = max(1, int(os.environ.get("VIDALIGN_KILLS", 12)) // 12)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data") / "made")


def contents(folder):
    """name -> bytes of what an evaluation leaves, but for config and environment."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.parent != folder]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in [*files, folder / "metrics.json"]}


def test_all_are_there():
    assert set(ROWS) == set(TASKS) and set(SETTINGS) == set(MODELS)


@pytest.mark.parametrize(("task", "model"), PAIRS)
def test_killed_and_restarted(task, model, data, tmp_path):
    config, log = write_config(tmp_path, data, task=task, model=model), tmp_path / "log"
    straight = [f"run.output_dir={tmp_path / 'straight'}"]
    env = {"COUNT": tmp_path / "count", "EVAL_TRACE": tmp_path / "told"}
    assert forked("evaluate", config, straight, log=log, env=env) == [0], log.read_text()
    expected = contents(tmp_path / "straight")
    assert len(expected) >= 2 and len((tmp_path / "told").read_text().splitlines()) == 5
    events = int((tmp_path / "count").read_text())
    chance = random.Random(f"{task} {model}")
    for number in range(ROUNDS):
        folder = tmp_path / f"run{number}"
        options = [f"run.output_dir={folder}"]
        for world in chance.choice(((1, 2), (2, 1), (2, 2), (1, 1))):
            own = {chance.randrange(world): {"KILL_AT": chance.randint(1, events // world - 2)}}
            codes = forked("evaluate", config, options, log=log, world=world, own=own)
            assert -9 in codes or codes == [0] * world, log.read_text()
        last = chance.choice((1, 2, 3))
        assert forked("evaluate", config, options, log=log, world=last) == [0] * last, log.read_text()
        assert contents(folder) == expected
