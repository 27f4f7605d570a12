"""Reading 150 000 annotation rows, and what they cost in memory per loader worker.

    PYTHONPATH=. python benchmarks/annotations.py [--rows 150000] [--workers 4]

Times are CPU seconds of this process. Memory: each of the forked workers touches every sample; what it then has of its
own (private dirty pages, Linux) is printed for a plain list and for the packed form that SampleDataset uses.
"""

import argparse
import csv
import json
import logging
import multiprocessing
import tempfile
import time
from pathlib import Path

from vidalign.data.packed import PackedSamples
from vidalign.registry import DATASETS

OPTIONS = {f"a{i}": f"a man puts the cup number {i} on the table in front of him" for i in range(5)}


def write(root, rows):
    """The same questions in four official layouts."""
    with open(root / "train.csv", "w", newline="") as file:
        names = ["video", "frame_count", "width", "height", "question", "answer", "qid", "type", *OPTIONS]
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        for i in range(rows):
            row = {"video": i // 8, "frame_count": 9, "width": 4, "height": 4, "qid": i % 8, "type": "CW", "answer": 1}
            writer.writerow(row | {"question": "why does the man put the cup down"} | OPTIONS)
    with open(root / "tvqa_train.jsonl", "w") as file:
        for i in range(rows):
            row = {"qid": i, "vid_name": f"clip_{i // 7}", "ts": "1.5-9.25", "q": "why does he do it", "answer_idx": 1}
            file.write(json.dumps(row | OPTIONS) + "\n")
    choices = [{"choice_id": i, "choice": f"The {name}."} for i, name in enumerate(("cup", "box", "bag", "cat"))]
    star = {"video_id": "V", "start": 0.0, "end": 9.5, "question": "What?", "answer": "The box.", "choices": choices}
    items = [star | {"question_id": f"Sequence_T1_{i}"} for i in range(rows)]
    (root / "STAR_train.json").write_text(json.dumps(items))
    questions = [{"video_name": f"v{i // 10}", "question": "what is it", "question_id": f"q_{i}"} for i in range(rows)]
    answers = [{"answer": "yes", "type": 3, "question_id": f"q_{i}"} for i in reversed(range(rows))]
    (root / "train_q.json").write_text(json.dumps(questions))
    (root / "train_a.json").write_text(json.dumps(answers))


def private_bytes():
    """Private dirty memory of this process."""
    text = Path("/proc/self/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_Dirty")) * 1024


def _touch(samples, queue):
    before = private_bytes()
    for index in range(len(samples)):
        _ = samples[index].uid
    queue.put(private_bytes() - before)


def per_worker(samples, workers):
    """Mean growth of a worker that reads every sample."""
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    running = [context.Process(target=_touch, args=(samples, queue)) for _ in range(workers)]
    for one in running:
        one.start()
    grown = [queue.get() for _ in running]
    for one in running:
        one.join()
    return sum(grown) / len(grown)


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rows", type=int, default=150_000)
    options.add_argument("--workers", type=int, default=4)
    given = options.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root, given.rows)
        for name in ("nextqa", "tvqa", "star", "activitynet_qa"):
            builder = DATASETS.load(name)(DATASETS.config(name)(root=folder))
            start = time.process_time()
            samples = builder.samples("train")
            seconds = time.process_time() - start
            print(f"{name:<16}{len(samples)} rows, {seconds:.1f} s CPU, {seconds / len(samples) * 1e6:.0f} us a row")
        start = time.process_time()
        packed = PackedSamples(samples)
        print(f"packing         {time.process_time() - start:.1f} s CPU, {int(packed._ends[-1]) / 2**20:.0f} MiB")
        for name, kept in (("list", samples), ("packed", packed)):
            print(
                f"{name:<8}each of {given.workers} workers grows by {per_worker(kept, given.workers) / 2**20:.1f} MiB"
            )


if __name__ == "__main__":
    main()
