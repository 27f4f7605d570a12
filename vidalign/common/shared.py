"""Bytes that several processes read and nobody copies."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable, Iterable
from multiprocessing.context import get_spawning_popen
from multiprocessing.reduction import DupFd


class SharedBytes:
    """Read-only bytes in a file without a name: `view` is the same memory in every process that it is sent to.

    Sent with a starting process only the descriptor travels; pickled for anything else (a file, a queue) the bytes do.
    The memory is free again when the last process ends, however it ends. Not in /dev/shm, which containers keep small.
    """

    def __init__(self, blocks: Iterable[bytes]) -> None:
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("vidalign")
        else:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        with open(descriptor, "wb", closefd=False) as file:
            for block in blocks:
                file.write(block)
        self._map(descriptor)

    def __len__(self) -> int:
        return len(self.view)

    def _map(self, descriptor: int) -> None:
        self._descriptor = descriptor
        size = os.fstat(descriptor).st_size
        self.view = memoryview(mmap.mmap(descriptor, size, prot=mmap.PROT_READ) if size else b"")

    def __reduce__(self) -> tuple[Callable[..., SharedBytes], tuple[object]]:
        if get_spawning_popen() is None:
            return _of_bytes, (bytes(self.view),)
        return _of_descriptor, (DupFd(self._descriptor),)

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)


def _of_bytes(content: bytes) -> SharedBytes:
    return SharedBytes([content])


def _of_descriptor(sent: object) -> SharedBytes:
    shared = SharedBytes.__new__(SharedBytes)
    shared._map(sent.detach())
    return shared
