"""SIGTERM (a scheduler takes the machine back) and Ctrl-C: the run saves and ends at the next safe place."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType
from typing import Self

from vidalign.common.errors import Stopped

AGAIN_SECONDS = 1.0


class StopRequest:
    """Inside `with`, SIGTERM and SIGINT only set `signal`, which the loops ask for after each step or batch.

    Repeated signals change nothing, because a launcher and a terminal often both send one; a second Ctrl-C more than a
    second later ends the run at once.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._since = 0.0

    def __enter__(self) -> Self:
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def obey(self, number: int, message: str) -> None:
        """Raise Stopped if `number` is a signal; 0 is none."""
        if number:
            raise Stopped(f"{signal.Signals(number).name}: {message}", signal=number)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal and number == signal.SIGINT and time.monotonic() - self._since > AGAIN_SECONDS:
            raise KeyboardInterrupt
        if not self.signal:
            self.signal, self._since = number, time.monotonic()
            # os.write: print is not safe inside a handler that may interrupt another print.
            os.write(2, f"\n{signal.Signals(number).name}: saving after this step\n".encode())
