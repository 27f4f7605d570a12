"""Process groups: who am I, and plain questions asked of all processes. Works with no group as world size 1."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


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
        with collective("barrier"):
            dist.barrier()


@dataclass
class LastCollective:
    """The exchange between processes that was entered last; a hang report names it."""

    name: str = "none"
    number: int = 0
    inside: bool = False
    since: float = 0.0

    def __str__(self) -> str:
        if not self.number:
            return "none"
        state = "still inside" if self.inside else "left again"
        return f"{self.name} (number {self.number}, entered {time.monotonic() - self.since:.0f} s ago, {state})"


LAST = LastCollective()


@contextmanager
def collective(name: str) -> Iterator[None]:
    """Note that this process enters an exchange with the others."""
    LAST.name, LAST.number, LAST.inside, LAST.since = name, LAST.number + 1, True, time.monotonic()
    yield
    LAST.inside = False


def local_rank() -> int:
    """This process's number on its machine, as torchrun tells it."""
    return int(os.environ.get("LOCAL_RANK", 0))
