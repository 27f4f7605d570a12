"""Two and three gloo processes against one process."""

import json
import os
import socket
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from distributed_worker import run
from refcases.ranks import run_ranks
from tiny_nextqa import make_nextqa, run_script, write_config
from toy_model import ToyModel, toy_batch, toy_samples

from vidalign.checkpoint.load import read_checkpoint
from vidalign.common import dist
from vidalign.runners import distributed
from vidalign.runners.distributed import from_main

WORKER = Path(__file__).with_name("distributed_worker.py")


def launch(out, *, world=2, device="cpu"):
    """The worker as `world` processes; their results in rank order."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = {"WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
    place["PYTHONPATH"] = Path(__file__).resolve().parents[2]
    started = []
    for rank in range(world):
        environment = os.environ | {name: str(value) for name, value in (place | {"RANK": rank}).items()}
        environment["LOCAL_RANK"] = str(rank)
        started.append(
            subprocess.Popen(
                [sys.executable, str(WORKER), str(out), device],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    for process in started:
        text, _ = process.communicate(timeout=180)
        assert process.returncode == 0, text
    return [torch.load(out / f"rank{rank}.pt", weights_only=True) for rank in range(world)]


def own_losses(start, stop, step=1):
    """The toy model's first loss on these samples, by hand."""
    return float(ToyModel()(toy_batch(toy_samples(16)[start:stop:step])).total.detach())


def equal(one, other, rel):
    assert one.keys() == other.keys()
    for name in one:
        assert one[name] == pytest.approx(other[name], rel=rel), name


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    return launch(tmp_path_factory.mktemp("ranks"))


def test_official_losses_are_the_mean_of_the_ranks_own(two_ranks):
    first, second = (rank["official"] for rank in two_ranks)
    assert first["history"] == second["history"] and first["lines"] == second["lines"]
    # Step 1: two micro-batches of two samples on each of two ranks, before any update.
    own = [own_losses(s + rank, s + 4, 2) for rank in (0, 1) for s in (0, 4)]
    assert first["lines"][0]["loss"] == pytest.approx(sum(own) / 4, rel=1e-6)
    for name, value in first["model"].items():
        assert torch.equal(value, second["model"][name]), name


def test_tokens_mode_equals_one_process_with_the_whole_batch(two_ranks):
    first, second = (rank["tokens"] for rank in two_ranks)
    whole = run(0, 1, micro=8, accumulate=1, loss_norm="tokens", device="cpu")
    for ours, theirs in zip(first["lines"], whole["lines"], strict=True):
        equal(ours, theirs, 1e-6)
    for ours, theirs in zip(first["history"], whole["history"], strict=True):
        equal(ours, theirs, 1e-6)
    for name, value in whole["model"].items():
        torch.testing.assert_close(first["model"][name], value, rtol=0, atol=1e-6, msg=name)
        assert torch.equal(first["model"][name], second["model"][name])


def test_a_non_finite_loss_on_one_rank_stops_all_and_names_its_batch(two_ranks):
    assert [rank["stopped_by"] for rank in two_ranks] == [["toy/train/5", "toy/train/7"]] * 2


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    return write_config(folder / "tiny.yaml", make_nextqa(folder / "nextqa"), cache=folder / "cache")


@pytest.mark.slow
def test_bovila_in_two_processes_equals_one_in_tokens_mode(made, tmp_path):
    common = ["run.loss_norm=tokens", "datasets.nextqa.eval=null", "run.log_every_steps=1"]
    run_script("train.py", made, *common, f"run.output_dir={tmp_path / 'one'}", "run.batch_size_per_gpu=4")
    two = [*common, f"run.output_dir={tmp_path / 'two'}", "run.batch_size_per_gpu=2"]
    run_script("train.py", made, *two, world=2)
    lines = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    for one, other in zip(*lines, strict=True):
        for name in ("loss", "edl_mse", "edl_reg", "vaq", "aqa"):
            assert other[name] == pytest.approx(one[name], rel=1e-6), (one["kind"], one["step"], name)
    weights = [read_checkpoint(tmp_path / name / "checkpoints/last.pt")["model"] for name in ("one", "two")]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=0, atol=2e-5, msg=name)


@pytest.mark.slow
def test_records_are_equal_at_every_world_size(made, tmp_path):
    for world in (1, 2, 3):
        run_script("evaluate.py", made, f"run.output_dir={tmp_path / str(world)}", world=world)
    records = [(tmp_path / str(world) / "predictions/nextqa/val.jsonl").read_bytes() for world in (1, 2, 3)]
    metrics = [(tmp_path / str(world) / "metrics.json").read_text() for world in (1, 2, 3)]
    assert len(records[0].splitlines()) == 17
    assert records[0] == records[1] == records[2]
    assert metrics[0] == metrics[1] == metrics[2]


@pytest.mark.gpu
def test_nccl_with_one_process_per_gpu(tmp_path):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    world = torch.cuda.device_count()
    results = [rank["tokens"] for rank in launch(tmp_path, world=world, device="cuda")]
    whole = run(0, 1, micro=2 * world, accumulate=2, loss_norm="tokens", device="cpu")
    for ours, theirs in zip(results[0]["lines"], whole["lines"], strict=True):
        equal(ours, theirs, 1e-4)


def _judged(*, seconds):
    """What the first process's long work gives in this one, and how many exchanges there were."""
    distributed.MEETING_SECONDS = 0.5

    def work():
        time.sleep(seconds)
        return torch.tensor(dist.rank() + 7)

    return from_main(work), torch.tensor(dist.LAST.number)


def test_the_others_wait_longer_for_the_first_than_an_exchange_may_take():
    made = run_ranks(2, _judged, [{"seconds": 5}] * 2, timeout=timedelta(seconds=2))
    assert [value.item() for value, _ in made] == [7, 7] and made[1][1] >= 8
