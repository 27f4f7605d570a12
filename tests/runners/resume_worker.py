"""One process of the resume tests: train.py or evaluate.py with a trace, and with an end at a chosen moment.

python resume_worker.py train|evaluate CONFIG [KEY=VALUE ...]; from the environment:
TRACE      file that gets one line per training batch: epoch, number, uids
KILL_AT    end by SIGKILL at this event; events are batches taken, and every fsync, rename and link
COUNT      file that gets the number of events
EVAL_TRACE file that gets one line per batch of an evaluation: uids
HANG_AT    sleep for ever when this many batches were taken (in this process)
HANG_UID   sleep for ever when this sample is loaded
FILE_BYTES largest file that may be written (what a full disk does to a large file)
SLOW       seconds to sleep before each batch
"""

import faulthandler
import os
import resource
import signal
import sys
import time
from functools import wraps
from pathlib import Path

import torch

from vidalign.cli import guarded
from vidalign.config.load import load
from vidalign.data.dataset import SampleDataset
from vidalign.data.loader import Loader
from vidalign.registry import RUNNERS

events = 0


def event():
    global events
    events += 1
    if events == int(os.environ.get("KILL_AT", 0)):
        os.kill(os.getpid(), signal.SIGKILL)


def eventful(function):
    @wraps(function)
    def called(*args, **kwargs):
        event()
        return function(*args, **kwargs)

    return called


def traced(function):
    @wraps(function)
    def batches(self):
        for number, batch in enumerate(function(self), start=1):
            event()
            if number == int(os.environ.get("HANG_AT", 0)):
                time.sleep(3600)
            time.sleep(float(os.environ.get("SLOW", 0)))
            if hasattr(self.sampler, "consumed"):
                place = f"{self.sampler.rank} {self.sampler.epoch} {self.sampler.consumed_batches} "
                append(os.environ.get("TRACE"), place + " ".join(batch["uids"]))
            else:
                append(os.environ.get("EVAL_TRACE"), " ".join(batch["uids"]))
            yield batch

    return batches


def append(path, line):
    if path is not None:
        with open(path, "a") as file:
            file.write(line + "\n")


def hanging(function):
    @wraps(function)
    def item(self, key):
        if self.samples[key[0]].uid == os.environ.get("HANG_UID"):
            time.sleep(3600)
        return function(self, key)

    return item


# Not below: loader workers import this file too.
SampleDataset.__getitem__ = hanging(SampleDataset.__getitem__)


def run(what, config, options):
    """train or evaluate; the exit code."""

    def start():
        experiment = load(config, options, purpose=what)
        getattr(RUNNERS.load(experiment.run.runner)(experiment), what)()

    os.fsync, os.replace, os.link = eventful(os.fsync), eventful(os.replace), eventful(os.link)
    Loader.__iter__ = traced(Loader.__iter__)
    torch.set_num_threads(1)
    code = guarded(start)
    if "COUNT" in os.environ:
        Path(os.environ["COUNT"]).write_text(str(events))
    return code


if __name__ == "__main__":
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    if "FILE_BYTES" in os.environ:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(os.environ["FILE_BYTES"]),) * 2)
    sys.exit(run(sys.argv[1], sys.argv[2], sys.argv[3:]))
