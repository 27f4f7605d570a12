"""Processes under torchrun: start and end of the group, DDP, and the few sums the training loop needs.

Everything works without a group as world size 1. Backend: nccl with CUDA, gloo on the CPU.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from vidalign.common import dist
from vidalign.common.errors import ConfigError, TrainingError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

# At the end of an evaluation the first process waits for the slowest one without exchanging anything before.
PATIENCE = timedelta(hours=2)
MEETING_SECONDS = 60.0
LOST = ("Connection closed by peer", "Connection reset by peer", "remote process exited", "Broken pipe")


def pick_device(wish: str) -> torch.device:
    """`auto`, `cpu` or `cuda` -> this process's device."""
    import torch

    if wish == "cpu" or (wish == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ConfigError("run.device: cuda is asked for, but PyTorch sees no GPU; use run.device=cpu or auto")
    index = dist.local_rank()
    if index >= torch.cuda.device_count():
        raise ConfigError(
            f"process {index} of this machine has no GPU of its own ({torch.cuda.device_count()} visible); start fewer "
            "processes (GPUS=...) or use run.device=cpu"
        )
    return torch.device("cuda", index)


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the group that torchrun describes in the environment, leave it at the end; nothing to do without one."""
    import torch
    import torch.distributed as torch_dist

    if "WORLD_SIZE" not in os.environ or torch_dist.is_initialized():
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch_dist.init_process_group("nccl", timeout=PATIENCE, device_id=device)
    else:
        torch_dist.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        torch_dist.destroy_process_group()


@contextmanager
def lost_process_told() -> Iterator[None]:
    """Inside, an exchange that breaks because another process ended is a TrainingError."""
    try:
        yield
    except RuntimeError as error:
        # The words of gloo and of nccl; any other RuntimeError is passed on.
        if not any(words in str(error) for words in LOST):
            raise
        raise TrainingError(
            f"another process of this run has ended; its own message says why. Last exchange: {dist.LAST}"
        ) from error


def wrap(model: nn.Module, *, device: torch.device, find_unused_parameters: bool = False) -> nn.Module:
    """DDP around the model when there is a group; the first process's weights go to all. A divided model stays as it is
    (sharding.py)."""
    import torch.distributed as torch_dist

    from vidalign.runners.sharding import is_sharded

    if not torch_dist.is_initialized() or is_sharded(model):
        return model
    from torch.nn.parallel import DistributedDataParallel

    return DistributedDataParallel(
        model,
        device_ids=[device] if device.type == "cuda" else None,
        find_unused_parameters=find_unused_parameters,
        gradient_as_bucket_view=True,
    )


def unwrap(model: nn.Module) -> nn.Module:
    """The model itself, whether DDP is around it or not."""
    from torch.nn.parallel import DistributedDataParallel

    return model.module if isinstance(model, DistributedDataParallel) else model


@contextmanager
def synced(model: nn.Module, *, last: bool) -> Iterator[None]:
    """DDP exchanges gradients only in the last micro-batch of a step."""
    if not hasattr(model, "no_sync"):
        yield
        return
    # The others are noted too: DDP sorts its buckets anew with the other processes at the second step's first forward.
    with dist.collective("forward and backward with gradient exchange"), nullcontext() if last else model.no_sync():
        yield


def sum_over_processes(values: Tensor) -> Tensor:
    """Elementwise sum over all processes; the tensor itself when there is one."""
    if dist.world_size() > 1:
        import torch.distributed as torch_dist

        with dist.collective("sum over processes"):
            torch_dist.all_reduce(values)
    return values


def gather_objects(value: Any) -> list[Any]:
    """Every process's value, in rank order, on every process."""
    if dist.world_size() == 1:
        return [value]
    import torch.distributed as torch_dist

    values: list[Any] = [None] * dist.world_size()
    with dist.collective("gather of objects"):
        torch_dist.all_gather_object(values, value)
    return values


def from_main(work: Callable[[], Any]) -> Any:
    """What `work` returns in the first process, in every process.

    It may take longer than PATIENCE (a judge behind an endpoint takes hours): the processes meet every minute then.
    """
    if dist.world_size() == 1:
        return work()
    with ThreadPoolExecutor(1) as pool:
        outcome = pool.submit(work) if dist.is_main() else None
        done = False
        while not done:
            if outcome is not None:
                wait([outcome], timeout=MEETING_SECONDS)
            done = gather_objects(outcome is not None and outcome.done())[0]
        return gather_objects(outcome.result() if outcome is not None else None)[0]


class Agreement:
    """The processes' largest flags, asked for after every step, without making a GPU wait.

    With CUDA the exchange runs on the CPU (gloo) beside the step and its answer is taken one step later; on the CPU it
    is taken at once. All processes get the same answers, and must ask equally often.
    """

    def __init__(self, device: torch.device) -> None:
        import torch.distributed as torch_dist

        self._late = device.type == "cuda"
        several = dist.world_size() > 1
        self._group = torch_dist.new_group(backend="gloo", timeout=PATIENCE) if several else None
        self._pending: Any = None

    def largest(self, flags: list[int]) -> list[int]:
        """Elementwise largest value over the processes: of this step, with CUDA of the step before (zeros at first)."""
        if self._group is None:
            return flags
        import torch
        import torch.distributed as torch_dist

        values = torch.tensor(flags)
        with dist.collective("agreement on saving"):
            work = torch_dist.all_reduce(values, op=torch_dist.ReduceOp.MAX, group=self._group, async_op=True)
            ready, self._pending = (self._pending, (work, values)) if self._late else ((work, values), None)
            if ready is None:
                return [0] * len(flags)
            ready[0].wait()
        return ready[1].tolist()


def same_everywhere(value: Any, what: str) -> None:
    """Raise TrainingError unless every process has the same value; for what would otherwise end in a silent hang."""
    values = gather_objects(value)
    if any(other != values[0] for other in values):
        raise TrainingError(f"{what} differs between the processes: {values}; they would wait for each other for ever")
