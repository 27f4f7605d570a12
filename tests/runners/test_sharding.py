"""FSDP2 over two gloo processes trains as one process does."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

WORKER = Path(__file__).with_name("sharding_worker.py")


def launch(out, *, world):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
    place["PYTHONPATH"] = Path(__file__).resolve().parents[2]
    place |= {"WORLD_SIZE": world} if world > 1 else {}
    started = []
    for rank in range(world):
        environment = os.environ | {name: str(value) for name, value in (place | {"RANK": rank}).items()}
        environment["LOCAL_RANK"] = str(rank)
        command = [sys.executable, str(WORKER), str(out)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        started.append(subprocess.Popen(command, env=environment, **pipes))
    for process in started:
        text, _ = process.communicate(timeout=600)
        assert process.returncode == 0, text
    return torch.load(out / f"world{world}.pt", weights_only=True)


@pytest.mark.slow
def test_two_divided_processes_train_as_one(tmp_path):
    one, two = launch(tmp_path, world=1), launch(tmp_path, world=2)
    assert one["model"].keys() == two["model"].keys() and two["local"] < 0.6 * one["local"]
    for name, tensor in one["model"].items():
        # Running statistics belong to a process; training does not read them.
        if not name.endswith(("running_mean", "running_var", "num_batches_tracked")):
            torch.testing.assert_close(
                two["model"][name], tensor, rtol=1e-3, atol=1e-4, msg=lambda t, n=name: f"{n}: {t}"
            )
    groups = one["optimizer"]["param_groups"], two["optimizer"]["param_groups"]
    assert [group["params"] for group in groups[0]] == [group["params"] for group in groups[1]] and len(groups[0]) == 2
    restored = torch.load(tmp_path / "restored.pt", weights_only=True)["optimizer"]["state"]
    for number, values in one["optimizer"]["state"].items():
        assert torch.equal(restored[number]["exp_avg"], values["exp_avg"])
