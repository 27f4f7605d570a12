"""Hang watchdog: when nothing moves for too long, say where everything stands and end the process, so that the launcher
can start it again."""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from vidalign.common import dist

if TYPE_CHECKING:
    from vidalign.data.loader import Loader

EXIT_HANG = 75  # EX_TEMPFAIL of sysexits.h: another try may succeed
STDERR = 2
POLL_SECONDS = 5.0
# A rank that only waits for the hanging one notices at about the same time; it must get its report out before the
# others' exits break its connection.
GRACE_SECONDS = 3.0


class Watchdog:
    """`with Watchdog(seconds) as dog:`; call `dog.moved("step 12")` after each step or batch. 0 seconds: no watching.

    The report goes to stderr: stacks of all threads of this process and of its loader workers, samples in flight, and
    the last exchange between processes. Exit code 75.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.loader: Any = None
        self._last = (time.monotonic(), "the start")
        self._paused = False
        self._end = threading.Event()
        self._poll = min(seconds / 4, POLL_SECONDS)

    def __enter__(self) -> Self:
        if self.seconds > 0:
            self.moved("the start")
            self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        if self.seconds > 0:
            self._thread.join()
            faulthandler.cancel_dump_traceback_later()

    def look_at(self, loader: Loader) -> None:
        """Whose workers and samples a report should show."""
        self.loader = loader

    def moved(self, what: str) -> None:
        """Something was finished."""
        self._last = (time.monotonic(), what)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside, nothing has to move: work of unknown length, such as a judge's answers, or waiting for such work."""
        self._paused = True
        try:
            yield
        finally:
            self.moved("a pause")
            self._paused = False

    def report(self) -> None:
        """Write everything that helps to find the cause."""
        since, what = self._last
        _say(
            f"\nrun.watchdog_seconds: nothing has moved for {time.monotonic() - since:.0f} seconds since {what} "
            f"(process {dist.rank()} of {dist.world_size()}, pid {os.getpid()})\n"
            f"last exchange between processes: {dist.LAST}\n"
        )
        loader = self.loader
        if loader is not None and hasattr(loader, "in_flight"):
            _say("".join(f"{line}\n" for line in loader.in_flight()))
        _say("stacks of this process:\n")
        faulthandler.dump_traceback(file=STDERR, all_threads=True)
        for pid in self._workers():
            _say(f"stacks of loader worker {pid}:\n")
            _signal(pid, signal.SIGUSR1)
            time.sleep(0.3)  # one after the other, so that the dumps do not mix

    def _watch(self) -> None:
        while not self._end.wait(self._poll):
            # For the case that this thread is stopped too (C code that keeps the interpreter's lock): a thread of C
            # prints the stacks and exits with 1.
            faulthandler.dump_traceback_later(self.seconds + 2 * POLL_SECONDS + GRACE_SECONDS, exit=True, file=STDERR)
            if not self._paused and time.monotonic() - self._last[0] > self.seconds:
                self.report()
                _say(f"ending process {dist.rank()} with exit code {EXIT_HANG}; the same command goes on from the last "
                     "checkpoint\n")  # fmt: skip
                time.sleep(GRACE_SECONDS)
                for pid in self._workers():
                    _signal(pid, signal.SIGKILL)
                os._exit(EXIT_HANG)

    def _workers(self) -> list[int]:
        return self.loader.worker_pids() if hasattr(self.loader, "worker_pids") else []


def _say(text: str) -> None:
    os.write(STDERR, text.encode())


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        _say(f"loader worker {pid} is gone\n")
