"""A made NExT-QA folder with feature rows, and how to run train.py and evaluate.py on it."""

import csv
import os
import socket
import subprocess
import sys
from pathlib import Path

import torch

REPOSITORY = Path(__file__).resolve().parents[1]
COLUMNS = ("video", "frame_count", "width", "height", "question", "answer", "qid", "type", "a0", "a1", "a2", "a3", "a4")
TYPES = ("CW", "CH", "TN", "TC", "DC", "DL", "DO")
COLOURS = ("red", "green", "blue", "white", "black", "grey", "pink")


def make_nextqa(root, *, rows=16, videos=5, dim=64, seed=0):
    """train.csv, val.csv (one more row: its video has no features) and clipvitl14.pth.

    Video 100 has 4 rows of features, fewer than the model's 10 frames; the others 12 and more.
    """
    root.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    features = {
        str(100 + v): torch.randn(4 if v == 0 else 10 + 2 * v, dim, generator=generator).half() for v in range(videos)
    }
    torch.save(features, root / "clipvitl14.pth")
    for split, count in (("train", rows), ("val", rows + 1)):
        with open(root / f"{split}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            for number in range(count):
                writer.writerow(_row(number, video=100 + number % videos if number < rows else 999))
    return root


def _row(number, *, video):
    words = [COLOURS[(number + k) % len(COLOURS)] for k in range(5)]
    question = f"what colour is the ball {'that rolls away ' * (number % 3)}in part {number}"
    options = {f"a{k}": f"{word} ball" if k % 2 else word for k, word in enumerate(words)}
    kind, answer = TYPES[number % len(TYPES)], (3 * number) % 5
    fixed = {"frame_count": 300, "width": 640, "height": 480}
    return {"video": video, **fixed, "question": question, "answer": answer, "qid": number, "type": kind, **options}


def write_config(path, root, *, cache, arch="bovila"):
    """A YAML over the tiny model and the made folder."""
    path.write_text(
        f"""base: [{REPOSITORY}/configs/models/{arch}_tiny.yaml, {REPOSITORY}/configs/datasets/nextqa.yaml]
model: {{max_seq_len: 384}}
datasets:
  nextqa: {{root: {root}, features: clipvitl14.pth, train: train, eval: val, expect_counts: false}}
task: {{name: multiple_choice}}
paths: {{cache: {cache}}}
run:
  device: cpu
  precision: fp32
  max_epochs: 2
  batch_size_per_gpu: 4
  num_workers: 0
  log_every_steps: 2
  optimizer: {{name: adamw, lr: 1e-2, betas: [0.9, 0.95], weight_decay: 0.1}}
  schedule: {{name: warmup_cosine, warmup_epochs: 0.5}}
  tensorboard: false
"""
    )
    return path


def run_script(script, config, *options, world=1, check=True, extra=()):
    """Run train.py or evaluate.py as `world` processes; the first one's completed process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(REPOSITORY / script), "--cfg-path", str(config), *extra, "--options", *options]
    common = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), "CUDA_VISIBLE_DEVICES": ""}
    started = []
    for rank in range(world):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        environment = common | ({name: str(value) for name, value in place.items()} if world > 1 else {})
        started.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
    done = []
    for process in started:
        out, err = process.communicate(timeout=240)
        done.append(subprocess.CompletedProcess(command, process.returncode, out, err))
    for one in done:
        assert not check or one.returncode == 0, one.stdout + one.stderr
    return done[0]
