"""Timing variants in turns: what other work does to a machine then strikes all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch


@dataclass
class Timing:
    """Seconds of each run of one variant: by the clock, and of this process's CPU time."""

    clock: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def time_in_turns(
    variants: dict[str, Callable], *, rounds: int, device: str = "cpu", warm_up: bool = True
) -> dict[str, Timing]:
    """Run every variant `rounds` times, before that once to warm up unless it has run already."""
    timings = {name: Timing() for name in variants}
    for index in range(-int(warm_up), rounds):
        for name, run in variants.items():
            _synchronize(device)
            start, start_cpu = time.perf_counter(), time.process_time()
            run()
            _synchronize(device)
            if index >= 0:
                timings[name].clock.append(time.perf_counter() - start)
                timings[name].cpu.append(time.process_time() - start_cpu)
    return timings


def ratio(timings: dict[str, Timing], slow: str, fast: str, *, kind: str = "clock") -> float:
    """Median over the rounds of slow / fast."""
    pairs = zip(getattr(timings[slow], kind), getattr(timings[fast], kind), strict=True)
    return statistics.median(a / b for a, b in pairs)


def report(title: str, timings: dict[str, Timing], *, unit: str, yardstick: str = "exact") -> None:
    """One line per variant: seconds, and how many times faster than the yardstick."""
    for name, timing in timings.items():
        clock, cpu = (ratio(timings, yardstick, name, kind=kind) for kind in ("clock", "cpu"))
        print(
            f"{title:18s} {name:8s} {statistics.median(timing.clock):9.3f} s/{unit}   "
            f"{clock:6.2f} x {yardstick}   {cpu:6.2f} x by CPU time"
        )


def _synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
