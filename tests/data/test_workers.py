"""How loader workers begin and end: without a fork of the main process, and never longer than it lives."""

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_packed_samples import sample

from vidalign.common.errors import ConfigError
from vidalign.common.shared import SharedBytes
from vidalign.data.dataset import SampleDataset
from vidalign.data.loader import make_loader
from vidalign.data.packed import PackedSamples
from vidalign.data.sampler import EvalSampler
from vidalign.data.workers import worker_context

MAIN = Path(__file__).with_name("workers_main.py")


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def all_end(pids, seconds=30):
    end = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(map(alive, pids))


def test_a_signal_for_the_whole_group_leaves_the_workers_alone_and_a_killed_main_process_takes_them_along():
    path = os.pathsep.join([str(MAIN.parents[2]), *sys.path])
    process = subprocess.Popen(
        [sys.executable, str(MAIN)],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        pids = [int(word) for word in process.stdout.readline().split()]
        assert len(set(pids)) == 3 and process.pid not in pids, "forked by a server, not by the main process"
        os.killpg(process.pid, signal.SIGTERM)
        for number in range(10):  # more than were prepared before
            process.stdin.write("next\n")
            process.stdin.flush()
            if number == 0:  # a signal just before the read is only heard behind it, so not before a line was sent
                assert process.stdout.readline() == "SIGTERM\n"
            assert process.stdout.readline() == "batch\n"
        assert all(map(alive, pids))
    finally:
        process.kill()
        process.communicate()
    assert all_end(pids)


def test_what_cannot_be_sent_is_told():
    dataset = SampleDataset([sample(0)], processor=lambda *given: given, media_loader=None)
    loader = make_loader(dataset, EvalSampler(1, batch_size=1), num_workers=1)
    with pytest.raises(ConfigError, match=r"run\.num_workers: .* cannot be sent to a loader worker .*lambda"):
        list(loader)


def _look(samples, answer):
    """Where a started process has the bytes: the lines of its memory map, and a uid."""
    lines = [line for line in Path("/proc/self/maps").read_text().splitlines() if "memfd:vidalign" in line]
    answer.put((lines, samples[700].uid))


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="Linux only")
def test_samples_are_sent_as_shared_memory():
    context = worker_context()
    answer = context.SimpleQueue()
    samples = PackedSamples([sample(number) for number in range(1000)])
    process = context.Process(target=_look, args=(samples, answer))
    process.start()
    lines, uid = answer.get()
    process.join()
    assert len(lines) == 1 and " r--s " in lines[0], "mapped once, shared, not written"
    assert uid == "d/s/700"


def test_shared_bytes():
    one = SharedBytes([b"abc", b"", b"def"])
    again = pickle.loads(pickle.dumps(one))
    assert bytes(one.view) == bytes(again.view) == b"abcdef" and len(one) == 6
    assert bytes(SharedBytes([]).view) == b""
    with pytest.raises(TypeError):
        one.view[0] = 1
