"""One value against its type and limits. Nothing is guessed: a value of the wrong type is refused with the cure."""

from __future__ import annotations

import math
import os
import typing
from typing import Any

from vidalign.common.errors import nearest, unknown
from vidalign.config.keys import Key, limits_text, options_of, type_text
from vidalign.config.problems import show
from vidalign.registry import ALL


class WrongValue(Exception):
    """The text says what is wanted and how to write it."""


def convert(key: Key, value: Any, raw: str | None) -> Any:
    """`value` as the type of `key`, inside its limits; `raw` is the command-line text it came from, if any.

    Raises WrongValue.
    """
    value = _typed(key.hint, value, raw)
    if key.limits.get("path") and isinstance(value, str):
        value = os.path.expanduser(value)  # the shell leaves the ~ of run.output_dir=~/out alone
    for one in value if isinstance(value, list | tuple) else [value]:
        _check_limits(key.limits, one)
    return value


def _typed(hint: Any, value: Any, raw: str | None) -> Any:
    """Try each type that the hint allows."""
    choices = options_of(hint)
    if value is None and type(None) in choices:
        return None
    wanted = [one for one in choices if one is not type(None)]
    errors = []
    for one in wanted:
        try:
            return _single(one, value, raw)
        except WrongValue as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    raise WrongValue(f"{type_text(hint)} is wanted.")


def _single(hint: Any, value: Any, raw: str | None) -> Any:
    if hint is Any:
        return value
    if typing.get_origin(hint) is typing.Literal:
        return _choice(value, typing.get_args(hint))
    if typing.get_origin(hint) in (list, tuple) or hint in (list, tuple):
        return _sequence(hint, value)
    if hint is float and not isinstance(value, bool):
        return _number(value)
    if hint is str and raw is not None and isinstance(value, int | float):
        return raw  # the shell has no quotes left by which text could be told from a number
    kind = typing.get_origin(hint) or hint
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    raise WrongValue(f"{type_text(hint)} is wanted, not {_kind_text(value)}.{_cure(kind, value)}")


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise WrongValue(f"a number is wanted, not {_kind_text(value)}. Write it like 0.1 or 1e-4.") from error
    if not math.isfinite(number):
        raise WrongValue("a finite number is wanted. Write it like 0.1 or 1e-4.")
    return number


def _sequence(hint: Any, value: Any) -> Any:
    kind, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if not isinstance(value, list):
        raise WrongValue(f"{type_text(hint)} is wanted, not {_kind_text(value)}. Write [{_bare(value)}].")
    item = inner[0] if inner else Any
    fixed = kind is tuple and inner and Ellipsis not in inner
    if fixed and len(inner) != len(value):
        raise WrongValue(f"a list of {len(inner)} values is wanted, this has {len(value)}.")
    items = []
    for position, one in enumerate(value):
        try:
            items.append(_typed(inner[position] if fixed else item, one, None))
        except WrongValue as error:
            raise WrongValue(f"{type_text(hint)} is wanted; its entry {show(one)}: {error}") from error
    return kind(items)


def _check_limits(limits: dict[str, Any], value: Any) -> None:
    if value is None:
        return
    if "choices" in limits:
        _choice(value, limits["choices"])
    if "registry" in limits:
        table = next(one for one in ALL if one.kind == limits["registry"])
        if value not in table:
            raise WrongValue(f"{unknown(table.kind, value, table)} Choose one, or name its plug-in with --plugins.")
    low, high = limits.get("low"), limits.get("high")
    if (low is not None and value < low) or (high is not None and value > high):
        nearest_legal = low if low is not None and value < low else high
        raise WrongValue(f"must be {limits_text(limits)}. The nearest legal value is {nearest_legal}.")


def _choice(value: Any, choices: tuple[Any, ...]) -> Any:
    if value in choices:
        return value
    near = nearest(value, (str(one) for one in choices))
    hint = f" Did you mean {near!r}?" if near else ""
    raise WrongValue(f"is not one of {', '.join(str(one) for one in choices)}.{hint} Choose one of them.")


def _kind_text(value: Any) -> str:
    if value is None:
        return "null"
    kinds = {bool: "true/false", int: "a number", float: "a number", str: "text", list: "a list", dict: "a block"}
    return kinds.get(type(value), type(value).__name__)


def _cure(kind: type, value: Any) -> str:
    """How to write what was probably meant."""
    if kind is int and isinstance(value, float):
        return f" Write {int(value)}." if value.is_integer() else " Write it without a fraction."
    if kind is int and isinstance(value, str):
        return " Write it in digits, without quotes."
    if kind is bool:
        return " Write true or false, without quotes."
    if kind is str and isinstance(value, bool):
        return " YAML reads yes, no, on and off as true and false: put the text in quotes."
    if kind is str and isinstance(value, int | float):
        return f" Put it in quotes: '{value}'."
    if isinstance(value, list) and len(value) == 1:
        return f" Write {_bare(value[0])} without brackets."
    return " Give a single value." if isinstance(value, list | dict) else " Give a value or remove the line."


def _bare(value: Any) -> str:
    return value if isinstance(value, str) else "..." if isinstance(value, dict) else show(value)
