"""Mistakes in a config, collected so that all of them are told in one message."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from vidalign.common.errors import ConfigError

COMMAND_LINE = "--options"
NOT_GIVEN = object()  # stands for "no value to show"


@dataclass(frozen=True)
class Problem:
    """One mistake: `place` is "file:line" or the flag, `key` is dotted, `text` says what is wrong and the cure."""

    place: str
    key: str
    text: str
    value: Any = NOT_GIVEN

    def __str__(self) -> str:
        shown = "" if self.value is NOT_GIVEN else f" = {show(self.value)}"
        subject = f"{self.key}{shown}: " if self.key else ""
        return f"{self.place}: {subject}{self.text}"


def show(value: Any, limit: int = 60) -> str:
    """A value as a reader of YAML expects it, cut to `limit` characters."""
    names = {None: "null", True: "true", False: "false"}
    text = names[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def raise_all(problems: list[Problem], path: str) -> None:
    """Raise one ConfigError that lists every mistake in file order; return when there is none."""
    if not problems:
        return
    unique = sorted(dict.fromkeys(str(problem) for problem in problems), key=_order)
    count = "1 mistake" if len(unique) == 1 else f"{len(unique)} mistakes"
    raise ConfigError("\n".join([f"{count} in {path}", *(f"  {line}" for line in unique)]))


def _order(line: str) -> tuple[str, int]:
    place = re.match(r"(.*?):(\d+): ", line)
    return (place[1], int(place[2])) if place else (line.split(":")[0], 0)
