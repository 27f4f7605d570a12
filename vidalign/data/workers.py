"""How loader workers are started, what they heed, and how their end is told."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import pickle
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import BaseContext

from vidalign.common.errors import ConfigError, TrainingError

# Imported once, by the server, so that a worker has it at no cost. Only other people's packages: the server's sys.path
# is not the program's, and it must not take this package from another checkout.
HEAVY = ("torch.utils.data", "numpy", "PIL.Image")


def worker_context() -> BaseContext:
    """Starts processes by a fork server, which begins here; by "spawn" where the system has none.

    A server without threads forks the workers. A fork of the main process may hang for good: another thread (the hang
    watchdog, a progress bar, C++) can hold a lock of CPython's at that moment, and in the child nobody frees it.
    """
    name = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(name)
    if name == "forkserver":
        context.set_forkserver_preload(list(HEAVY))
        resource_tracker.ensure_running()  # would be started with the server, and unblock SIGTERM
        # The server inherits what is blocked here: a scheduler's SIGTERM for all must leave it and the workers alive
        # until the main process has saved. It ends with the main process.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context


def prepare_worker(worker: int) -> None:
    """Signals in a worker: one for the whole process group (Ctrl-C, a scheduler's SIGTERM) must reach the main process
    only, which saves a checkpoint first and needs its workers until then; they end when it ends.

    SIGUSR1 prints the stacks, for the hang watchdog.
    """
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # also forgets one that came before, for the whole group
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "SIGUSR1"):
        faulthandler.register(signal.SIGUSR1, file=2, all_threads=True)
    # torch's workers look whether their parent has changed, and that is the server.
    threading.Thread(target=_end_with_the_main_process, name="end with the main process", daemon=True).start()


def _end_with_the_main_process() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def sendable() -> Iterator[None]:
    """Inside, what cannot be sent to a worker is a ConfigError."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Got pickle error")  # advises a fork
            yield
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        if "pickle" not in str(error):
            raise
        raise ConfigError(
            f"run.num_workers: a part of the data path cannot be sent to a loader worker ({error}). Processors, "
            "transforms and media loaders of a plug-in must consist of a module's own classes and functions (no "
            "lambda, no open file); or use run.num_workers=0"
        ) from error


@contextmanager
def dead_worker_told() -> Iterator[None]:
    """Inside, a loader worker that vanished is a TrainingError.

    torch may raise from a signal handler, so at any line of the main process: whoever uses a loader needs this around
    all of its work.
    """
    try:
        yield
    except RuntimeError as error:
        # torch's words for a worker that vanished; any other RuntimeError is passed on.
        if "exited unexpectedly" not in str(error) and "is killed by signal" not in str(error):
            raise
        why = str(error).strip().splitlines()[0]
        raise TrainingError(
            f"a loader worker died ({why}). If it printed nothing itself, the usual cause is memory: lower "
            "run.num_workers or the batch size; with run.num_workers=0 the loading runs in the main process and shows "
            "the real error"
        ) from error
