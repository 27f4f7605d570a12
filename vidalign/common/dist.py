"""Process groups: who am I, and plain questions asked of all processes. Works with no group as world size 1."""

from __future__ import annotations

import os


def rank() -> int:
    """This process's number, 0 without a process group."""
    import torch.distributed as dist

    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def world_size() -> int:
    """Number of processes, 1 without a process group."""
    import torch.distributed as dist

    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_main() -> bool:
    """True in the one process that writes shared files and prints."""
    return rank() == 0


def barrier() -> None:
    """Wait for every process; returns at once when there is only one."""
    import torch.distributed as dist

    if world_size() > 1:
        dist.barrier()


def local_rank() -> int:
    """This process's number on its machine, as torchrun tells it."""
    return int(os.environ.get("LOCAL_RANK", 0))
