"""${paths.data_root} and the like, resolved by OmegaConf over the whole tree (defaults included)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vidalign.common.errors import nearest


def resolve(values: dict[str, Any]) -> tuple[dict[str, Any], dict[str, tuple[Any, str]]]:
    """The values without interpolations, and for each dotted key that failed (what was written, what is wrong).

    A failed key has the value None.
    """
    wanted = {key: value for key, value in leaves(values) if "${" in str(value)}
    if not wanted:
        return values, {}
    failures: dict[str, tuple[Any, str]] = {}
    for key, value in wanted.items():
        try:
            OmegaConf.create({"value": value})
        except OmegaConfBaseException:
            failures[key] = (value, "malformed interpolation. Write it like ${paths.data_root}/star.")
            values = _with(values, key, None)
    config = OmegaConf.create(_primitive(values))
    for key, value in wanted.items():
        if key in failures:
            continue
        try:
            found = OmegaConf.select(config, key)
        except OmegaConfBaseException as error:
            failures[key] = (value, _explain(error, value, values))
            found = None
        values = _with(values, key, OmegaConf.to_container(found) if OmegaConf.is_config(found) else found)
    return values, failures


def leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of everything that is no block; a list is one value."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _explain(error: OmegaConfBaseException, value: Any, values: dict[str, Any]) -> str:
    known = dict(leaves(values))
    for name in re.findall(r"\$\{([\w.]+)\}", str(value)):
        if name not in known:
            near = nearest(name, known)
            hint = f" Did you mean ${{{near}}}?" if near else ""
            return f"there is no key {name}.{hint} Name a key of this config, e.g. ${{paths.data_root}}."
        if known[name] == "???":
            return f"{name} has no value yet. Give it in the file or with --options {name}=VALUE."
    reason = str(error).splitlines()[0]
    return f"{reason}. Name a key of this config, e.g. ${{paths.data_root}}."


def _with(values: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy with one dotted key changed; the other branches are shared."""
    first, _, rest = key.partition(".")
    return {**values, first: _with(values[first], rest, value) if rest else value}


def _primitive(value: Any) -> Any:
    """What OmegaConf can hold: other types are there only to be refused later."""
    if isinstance(value, dict):
        return {str(key): _primitive(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_primitive(child) for child in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
