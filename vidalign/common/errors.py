"""Errors whose message is meant for the person who runs the program.

Entry points print these without a traceback; anything else is a bug in vidalign and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake the user can mend. The message names the place, the value and the remedy."""

    exit_code = 2  # 1 stays with Python's own tracebacks


class ConfigError(UserError):
    """One or several mistakes in a config file or on the command line."""


class DataError(UserError):
    """An annotation file, a feature file or a row in it is not what it should be."""


class CheckpointError(UserError):
    """Weights that do not fit completely, or a file that is not a safe checkpoint."""


class MediaError(Exception):
    """One video or feature row cannot be used. Counted and named per Sample, never fatal by itself.

    `str(error)` is the `reason` in the prediction record.
    """


class TrainingError(UserError):
    """Training cannot go on: non-finite loss, too many failed media, a lost process."""


class Stopped(UserError):
    """A signal asked the run to end; what it had done is saved. The exit code is 128 + the signal's number."""

    def __init__(self, message: str, *, signal: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal


def nearest(name: object, known: Iterable[str]) -> str | None:
    """The known name most like `name`, or None when nothing is near."""
    close = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return close[0] if close else None


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """The one sentence for every 'no such thing': what, the nearest name, all names."""
    names = sorted(known)
    near = nearest(name, names)
    hint = f" Did you mean {near!r}?" if near else ""
    return f"unknown {kind} {name!r}.{hint} Known: {', '.join(names) or '(none)'}."
