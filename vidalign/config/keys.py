"""What the config dataclasses say about themselves: keys, types, defaults, limits, help."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vidalign.common.errors import nearest

MISSING = "???"  # the YAML spelling of "must be given"
_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false", dict: "a block of keys"}


@dataclass(frozen=True)
class Key:
    """One field of a config dataclass; `block` is its own dataclass when it is a block of further keys."""

    name: str
    hint: Any
    default: Any
    limits: dict[str, Any]
    block: type | None

    @property
    def last(self) -> str:
        """The name without the blocks around it."""
        return self.name.rpartition(".")[2]

    @property
    def help(self) -> str:
        """The help line of the field."""
        return self.limits.get("help", "")


def fields_of(schema: type, prefix: str = "") -> dict[str, Key]:
    """The keys directly in `schema`, by field name."""
    hints = typing.get_type_hints(schema)
    found = {}
    for one in dataclasses.fields(schema):
        hint = hints[one.name]
        found[one.name] = Key(f"{prefix}{one.name}", hint, _default(one), dict(one.metadata), block_of(hint))
    return found


def walk(schema: type, prefix: str = "") -> Iterator[Key]:
    """Every key of `schema` and of the blocks below it, in the order of the fields."""
    for key in fields_of(schema, prefix).values():
        yield key
        if key.block is not None:
            yield from walk(key.block, f"{key.name}.")


def defaults(schema: type) -> dict[str, Any]:
    """The default values of `schema` as plain nested dictionaries; MISSING where there is none."""
    return {name: plain(key.default) for name, key in fields_of(schema).items()}


def plain(value: Any) -> Any:
    """Dataclasses, lists, tuples and dictionaries as plain YAML values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: plain(child) for key, child in value.items()}
    return [plain(child) for child in value] if isinstance(value, list | tuple) else value


def block_of(hint: Any) -> type | None:
    """The dataclass in `hint` (`X` or `X | None`), None when the hint is no block."""
    return next((one for one in options_of(hint) if dataclasses.is_dataclass(one)), None)


def options_of(hint: Any) -> tuple[Any, ...]:
    """The types a value may have: the parts of a union, else the hint itself."""
    union = typing.get_origin(hint) in (types.UnionType, typing.Union)
    return typing.get_args(hint) if union else (hint,)


def type_text(hint: Any) -> str:
    """A type in words, e.g. "a whole number or null"."""
    return " or ".join(_one_type(one) for one in options_of(hint))


def limits_text(limits: dict[str, Any]) -> str:
    """The limits of a key in words, "" without limits."""
    low, high = limits.get("low"), limits.get("high")
    if "choices" in limits:
        return "one of " + ", ".join(str(one) for one in limits["choices"])
    if low is not None and high is not None:
        return f"from {low} to {high}"
    return f"at least {low}" if low is not None else f"at most {high}" if high is not None else ""


def similar(name: str, keys: list[Key], home: str) -> tuple[str, str]:
    """("belongs" | "typo" | "", dotted key) for an unknown `name` in the block `home` ("" is the whole config).

    A very similar neighbour is a typo; the same name in another block belongs there; then weaker likenesses count.
    """
    prefix = f"{home}." if home else ""
    siblings = {key.last: key.name for key in keys if key.name.rpartition(".")[0] == home}
    elsewhere = sorted(
        (key.name for key in keys if key.last == name), key=lambda one: (-_shared(one, prefix), len(one))
    )
    near = nearest(name, siblings)
    if near and len(near) > 3 and _likeness(name, near) > 0.84:
        return "typo", siblings[near]
    if elsewhere:
        return "belongs", elsewhere[0]
    if near:
        return "typo", siblings[near]
    deep = {key.last: key.name for key in keys}
    far = nearest(name, deep)
    return ("typo", deep[far]) if far and _likeness(name, far) > 0.7 else ("", "")


def _one_type(hint: Any) -> str:
    if hint is type(None):
        return "null"
    if dataclasses.is_dataclass(hint):
        return "a block of keys"
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return "one of " + ", ".join(str(one) for one in inner)
    if origin in (list, tuple):
        plural = {int: "whole numbers", float: "numbers", str: "texts", bool: "true or false"}
        return f"a list of {plural.get(inner[0], 'values')}" if inner else "a list"
    return _NAMES.get(origin or hint, "any value" if hint is Any else str(hint))


def _default(one: dataclasses.Field[Any]) -> Any:
    if one.default is not dataclasses.MISSING:
        return one.default
    return one.default_factory() if one.default_factory is not dataclasses.MISSING else MISSING


def _likeness(a: str, b: str) -> float:
    return difflib.SequenceMatcher(None, a, b).ratio()


def _shared(name: str, prefix: str) -> int:
    """Number of leading blocks that two dotted names share."""
    count = 0
    for one, other in zip(name.split("."), prefix.split("."), strict=False):
        if one != other:
            break
        count += 1
    return count
