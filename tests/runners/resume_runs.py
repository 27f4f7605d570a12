"""Starting, killing and comparing runs for the resume tests."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import torch
from tiny_nextqa import REPOSITORY, make_nextqa, write_config

from vidalign.checkpoint.load import read_checkpoint

WORKER = Path(__file__).with_name("resume_worker.py")
# 28 rows, one of them without features. One process: 14 micro-batches, four steps and two left over; two processes: 7
# micro-batches, two steps and one left over. Lines of two steps cross the epochs' ends and the checkpoints.
OPTIONS = (
    "datasets.nextqa.train=val",
    "run.max_failed_share=0.5",
    "run.batch_size_per_gpu=2",
    "run.accumulate=3",
    "run.save_every_steps=1",
    "run.log_every_steps=2",
)
TIMING = ("seconds", "samples_per_second")


def make_runs(folder, *, rows=27):
    """A made benchmark and its config."""
    return write_config(folder / "tiny.yaml", make_nextqa(folder / "nextqa", rows=rows), cache=folder / "cache")


class Run:
    """`world` processes of resume_worker.py; env: of all of them, own: rank -> its own."""

    def __init__(self, what, config, *options, world=1, env=None, own=None):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": world} if world > 1 else {}
        common = {"OMP_NUM_THREADS": 1, "CUDA_VISIBLE_DEVICES": ""}
        common["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])
        self.processes = []
        for rank in range(world):
            ranks = {"RANK": rank, "LOCAL_RANK": rank} if world > 1 else {}
            variables = common | place | ranks | (env or {}) | (own or {}).get(rank, {})
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, str(WORKER), what, str(config), *options],
                    env=os.environ | {name: str(value) for name, value in variables.items()},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )

    def wait(self, timeout=240):
        """Exit codes and what was printed; as soon as one dies, a launcher would kill the others: so do we.

        After `timeout` seconds without any end: AssertionError with the stacks of all processes.
        """
        end = time.monotonic() + timeout
        while all(process.poll() is None for process in self.processes):
            if time.monotonic() > end:
                self.send(signal.SIGUSR1)  # resume_worker.py prints its stacks then
                time.sleep(1)
                self.kill()
                self.finish()
                raise AssertionError(f"hangs for {timeout} seconds:\n{self.err}")
            time.sleep(0.02)
        if any(process.poll() == -signal.SIGKILL for process in self.processes):
            self.kill()
        return self.finish()

    def finish(self, timeout=240):
        """Exit codes and what was printed, once all have ended by themselves."""
        self.printed = [process.communicate(timeout=timeout) for process in self.processes]
        self.err = "".join(err for _, err in self.printed)
        self.codes = [process.returncode for process in self.processes]
        return self.codes

    def send(self, number):
        """A signal to all."""
        for process in self.processes:
            process.send_signal(number)

    def kill(self):
        """SIGKILL to all."""
        self.send(signal.SIGKILL)


def wait_for(condition, timeout=120):
    """Until `condition()` is true."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def lines(path):
    """metrics.jsonl without what may vary."""
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    return [{key: value for key, value in row.items() if key not in TIMING} for row in rows]


def trace(path):
    """(rank, epoch, number) -> the uids of that batch; what came twice must have been the same."""
    order = {}
    for line in path.read_text().splitlines():
        rank, epoch, number, *uids = line.split()
        assert order.setdefault((rank, epoch, number), uids) == uids, "another order after a restart"
    return order


def equal(one, other, at="checkpoint"):
    """Bit for bit."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), at
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), at
        for key, value in one.items():
            equal(value, other[key], f"{at}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), at
        for index, value in enumerate(one):
            equal(value, other[index], f"{at}[{index}]")
    else:
        assert one == other, at


def same_end(one, other, split="predictions/nextqa/val.jsonl"):
    """Both run folders hold the same weights, optimizer, averages, lines, records and metrics, and no leftovers."""
    for name in ("last", "best"):
        contents = [read_checkpoint(folder / f"checkpoints/{name}.pt") for folder in (one, other)]
        for content in contents:
            del content["config"]  # holds the folder's name
        equal(*contents, at=name)
    assert lines(one / "metrics.jsonl") == lines(other / "metrics.jsonl")
    for name in (split, "metrics.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    assert not [path for path in other.rglob("*") if path.name.startswith(".")], "leftovers"
