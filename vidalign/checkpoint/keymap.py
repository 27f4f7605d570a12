"""Renaming weights: a list of pairs of name patterns, used in both directions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

from vidalign.common.errors import CheckpointError

T = TypeVar("T")


class KeyMap:
    """Pairs (released pattern, our pattern). `{}` stands for one part between dots, `{*}` for all that is left; they
    appear in both patterns of a pair, in the same order.

        KeyMap([("layers.{}.attention.gate1", "blocks.{}.gate1"), ("norm.weight", "final_norm.weight")])

    The first pair that fits a name is taken. Names that no pair fits are an error, so nothing is half renamed.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self.pairs = list(pairs)
        for released, ours in self.pairs:
            assert _holes(released) == _holes(ours), f"{released!r} and {ours!r} have different placeholders"
        self._to_ours = [(_regex(released), _template(ours)) for released, ours in self.pairs]
        self._to_released = [(_regex(ours), _template(released)) for released, ours in self.pairs]

    def to_ours(self, state: Mapping[str, T]) -> dict[str, T]:
        """Released names -> ours."""
        return _rename(state, self._to_ours)

    def to_released(self, state: Mapping[str, T]) -> dict[str, T]:
        """Our names -> released ones."""
        return _rename(state, self._to_released)


def _holes(pattern: str) -> list[str]:
    return re.findall(r"\{\*?\}", pattern)


def _regex(pattern: str) -> re.Pattern[str]:
    escaped = re.escape(pattern).replace(re.escape("{*}"), "(.+)").replace(re.escape("{}"), "([^.]+)")
    return re.compile(escaped)


def _template(pattern: str) -> str:
    return pattern.replace("{*}", "{}")


def _rename(state: Mapping[str, T], rules: list[tuple[re.Pattern[str], str]]) -> dict[str, T]:
    renamed: dict[str, T] = {}
    strangers, doubles = [], []
    for name, value in state.items():
        match, template = next(((m, t) for r, t in rules if (m := r.fullmatch(name))), (None, ""))
        if match is None:
            strangers.append(name)
            continue
        new = template.format(*match.groups())
        if new in renamed:
            doubles.append(new)
        renamed[new] = value
    if strangers or doubles:
        told = [f"unknown: {name}" for name in strangers] + [f"twice: {name}" for name in doubles]
        raise CheckpointError("these names cannot be mapped:\n  " + "\n  ".join(told))
    return renamed
