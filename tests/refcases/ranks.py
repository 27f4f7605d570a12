"""Run one function in several processes of a gloo group, as torchrun would, and collect what each returns."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as processes


def run_ranks(
    world: int, function: Callable[..., Any], inputs: list[dict[str, Any]], *, timeout: timedelta | None = None
) -> list[Any]:
    """function(**inputs[rank]) in `world` new processes; the results, by rank. `function` must be importable.

    timeout: of an exchange between them.
    """
    with tempfile.TemporaryDirectory() as folder:
        # fork: a fresh interpreter would import everything again, for half a minute on a busy machine.
        processes.start_processes(
            _one_rank, (world, folder, function, inputs, timeout), nprocs=world, start_method="fork"
        )
        return [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in range(world)]


def _one_rank(
    rank: int,
    world: int,
    folder: str,
    function: Callable[..., Any],
    inputs: list[dict[str, Any]],
    timeout: timedelta | None,
) -> None:
    torch.set_num_threads(1)
    place = {"init_method": f"file://{folder}/meet", "rank": rank, "world_size": world}
    torch.distributed.init_process_group("gloo", timeout=timeout, **place)
    torch.save(function(**inputs[rank]), Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()
