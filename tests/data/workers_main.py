"""A main process with two loader workers, for test_workers.py: prints their pids and that of their server, hands out a
batch for every line on stdin, and says when a SIGTERM came."""

import os
import signal
import sys

from vidalign.common.sample import Sample
from vidalign.data.dataset import SampleDataset
from vidalign.data.loader import make_loader
from vidalign.data.sampler import EvalSampler
from vidalign.media.load import LoadedMedia


class Nothing:
    def load(self, sample, *, epoch=0):
        return LoadedMedia(None)


class Plain:
    def __call__(self, sample, media, *, epoch=0):
        return {"parent": os.getppid()}

    def collate(self, items):
        return {"parent": items[0]["parent"]}


def main():
    samples = [Sample(uid=f"toy/val/{i}", dataset="toy", split="val", task="mc_qa") for i in range(1000)]
    signal.signal(signal.SIGTERM, lambda number, frame: os.write(1, b"SIGTERM\n"))
    loader = make_loader(SampleDataset(samples, Plain(), Nothing()), EvalSampler(1000, batch_size=1), num_workers=2)
    for number, batch in enumerate(loader):
        if number == 0:
            print(*loader.worker_pids(), batch["batch"]["parent"], flush=True)
        else:
            print("batch", flush=True)
        sys.stdin.readline()


if __name__ == "__main__":
    main()
