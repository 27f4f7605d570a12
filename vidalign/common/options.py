"""Config dataclasses are written with `option`: a default, one line of help, and limits that are checked at load."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def option(default: Any, text: str, **limits: Any) -> Any:
    """A dataclass field with a help line.

    A class as `default` makes a fresh instance, a list or dict is copied. Limits: `choices`, `low`, `high` (inclusive),
    `registry` (the kind of a registry whose names are legal). `path=True`: a file or folder, of which ~ is expanded.
    """
    metadata = {"help": text, **limits}
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)
