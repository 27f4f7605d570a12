"""A full disk, a killed loader worker, a rank or a worker that hangs: a clear end, and the last checkpoint is good."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from resume_runs import OPTIONS, Run, make_runs, same_end, wait_for

from vidalign.checkpoint.load import read_checkpoint

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_runs(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def straight(made, tmp_path_factory):
    out = tmp_path_factory.mktemp("straight")
    run = Run("train", made, *OPTIONS, f"run.output_dir={out}")
    assert run.wait() == [0], run.err
    return out


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own with little room."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a tmpfs cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def half(made, out, **env):
    """A run that is killed after a few steps."""
    run = Run("train", made, *OPTIONS, f"run.output_dir={out}", env={"KILL_AT": 14, **env})
    assert run.wait() == [-9], run.err
    return (out / "checkpoints/last.pt").read_bytes()


def test_a_full_disk(made, straight, small_disk):
    out = small_disk / "run"
    before = half(made, out)
    for leftover in out.rglob(".*.part"):
        leftover.unlink()  # the restarted run would, and have more room than is counted here
    room = os.statvfs(small_disk)
    with open(small_disk / "filler", "wb") as file:
        # Room for config.yaml and a few lines, not for a checkpoint.
        file.write(bytes(room.f_bavail * room.f_bsize - 12 * 4096))
    run = Run("train", made, *OPTIONS, f"run.output_dir={out}")
    assert run.wait() == [2], run.err
    assert "No space left" in run.err and str(out) in run.err and "Traceback" not in run.err
    assert (out / "checkpoints/last.pt").read_bytes() == before
    assert read_checkpoint(out / "checkpoints/last.pt")["step"] > 0
    (small_disk / "filler").unlink()
    again = Run("train", made, *OPTIONS, f"run.output_dir={out}")
    assert again.wait() == [0], again.err
    same_end(straight, out)


@pytest.mark.parametrize("world", [1, 2])
def test_a_checkpoint_that_cannot_be_written(made, world, tmp_path):
    out = tmp_path / "run"
    run = Run("train", made, *OPTIONS, f"run.output_dir={out}", world=world, own={0: {"KILL_AT": 14}})
    assert -9 in run.wait()
    before = (out / "checkpoints/last.pt").read_bytes()
    run = Run("train", made, *OPTIONS, f"run.output_dir={out}", world=world, env={"FILE_BYTES": len(before) // 2})
    assert run.finish() == [2] * world, run.err
    assert "checkpoints/last.pt could not be written" in run.err and "written before is untouched" in run.err
    assert "Is the disk full?" in run.err and "Traceback" not in run.err
    assert (out / "checkpoints/last.pt").read_bytes() == before
    assert not list(out.rglob(".*.part"))


def children(pid):
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_killed_worker(made, straight, tmp_path):
    out, told = tmp_path / "run", tmp_path / "trace"
    options = (*OPTIONS, f"run.output_dir={out}")
    run = Run("train", made, *options, "run.num_workers=2", env={"TRACE": told, "SLOW": 0.2})
    wait_for(lambda: told.is_file() and len(told.read_text().splitlines()) >= 4)
    workers = [pid for server in children(run.processes[0].pid) for pid in children(server)]
    assert len(workers) == 2
    os.kill(workers[-1], signal.SIGKILL)
    assert run.wait() == [2], run.err
    assert "a loader worker died" in run.err and "Traceback" not in run.err
    again = Run("train", made, *options)
    assert again.wait() == [0], again.err
    same_end(straight, out)


def test_a_rank_that_hangs(made, tmp_path):
    options = (*OPTIONS, "run.watchdog_seconds=4", f"run.output_dir={tmp_path / 'run'}")
    run = Run("train", made, *options, world=2, own={1: {"HANG_AT": 5}})
    codes = run.finish(timeout=120)
    assert codes[1] == 75 and codes[0] != 0, (codes, run.err)
    waiting, hanging = (err for _, err in run.printed)
    assert "(process 0 of 2" in waiting and "forward and backward with gradient exchange" in waiting
    assert "still inside" in waiting
    assert "(process 1 of 2" in hanging and "resume_worker.py" in hanging and "last batch taken: nextqa/val/" in hanging
    assert read_checkpoint(tmp_path / "run/checkpoints/last.pt")["step"] == 1


def test_a_worker_that_hangs(made, tmp_path):
    options = (*OPTIONS, "run.watchdog_seconds=4", "run.num_workers=2", f"run.output_dir={tmp_path / 'run'}")
    run = Run("train", made, *options, env={"HANG_UID": "nextqa/val/103_3"})
    assert run.finish(timeout=120) == [75], run.err
    assert "being loaded by worker" in run.err and "nextqa/val/103_3 (" in run.err and "clipvitl14.pth" in run.err
    worker = run.err.split("stacks of loader worker")[1:]
    assert len(worker) == 2 and any("in item" in text for text in worker), "the stack shows where it hangs"
