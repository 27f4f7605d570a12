"""What `vidalign list` and `vidalign explain` print, read from the registries and the config dataclasses."""

from __future__ import annotations

from collections.abc import Iterator

from vidalign.common.errors import ConfigError, nearest, unknown
from vidalign.config.keys import MISSING, Key, limits_text, type_text, walk
from vidalign.config.problems import show
from vidalign.config.schema import PathsConfig, RunConfig
from vidalign.registry import ALL, DATASETS, MODELS, TASKS, Registry

ANY_DATASET = "datasets.NAME"


def listing(kind: str | None) -> str:
    """The registered names with their summaries; `kind` ("models", "dataset" ...) picks one table."""
    tables = list(ALL)
    if kind is not None:
        tables = [one for one in ALL if kind.lower().rstrip("s") == one.kind]
        if not tables:
            raise ConfigError(unknown("kind", kind, (f"{one.kind}s" for one in ALL)))
    return "\n".join(_table(one) for one in tables)


def explain(name: str) -> str:
    """Type, default, limits and help of a key; all keys of a block; every key of that last name.

    `datasets.star.root` and `datasets.root` mean the same. Raises ConfigError for a name that no config has.
    """
    wanted = _normal(name)
    everything = list(_all_keys())
    exact = [(key, owner) for key, owner in everything if key.name == wanted]
    inside = [(key, owner) for key, owner in everything if key.name.startswith(f"{wanted}.")]
    named = [(key, owner) for key, owner in everything if key.last == wanted]
    found = inside or exact or named
    if not found:
        known = {key.name for key, _ in everything} | {key.last for key, _ in everything}
        near = nearest(wanted, known)
        hint = f" Did you mean {near}?" if near else ""
        raise ConfigError(f"no config has a key {name!r}.{hint} Blocks: model, datasets, task, run, paths.")
    return "\n".join(_merged(found))


def _table(table: Registry) -> str:
    rows = [f"  {name:<16} {table.entry(name).summary}" for name in table]
    return "\n".join([f"{table.kind}s", *rows])


def _normal(name: str) -> str:
    first, _, rest = name.strip(".").partition(".")
    if first != "datasets":
        return name.strip(".")
    inner = rest.partition(".")
    rest = inner[2] if inner[0] in DATASETS or inner[0] == "NAME" else rest
    return f"{ANY_DATASET}.{rest}".rstrip(".")


def _all_keys() -> Iterator[tuple[Key, str]]:
    """(key, name of the registered thing that has it) over everything that a config can hold."""
    for table, prefix in ((MODELS, "model"), (DATASETS, ANY_DATASET), (TASKS, "task")):
        for name in table:
            schema = table.config(name)
            for key in walk(schema, f"{prefix}.") if schema is not None else ():
                yield key, name
    for schema, prefix in ((RunConfig, "run"), (PathsConfig, "paths")):
        for key in walk(schema, f"{prefix}."):
            yield key, ""


def _merged(found: list[tuple[Key, str]]) -> Iterator[str]:
    """One paragraph per key; things that share a key in every detail are named together."""
    owners: dict[str, list[str]] = {}
    for key, owner in found:
        if key.block is None:
            owners.setdefault(_paragraph(key), []).append(owner)
    for text, names in owners.items():
        count = len(names)
        everywhere = names == [""] or (text.startswith(ANY_DATASET) and count == len(list(DATASETS)))
        yield text if everywhere else f"{text}\n    of: {', '.join(names)}"


def _paragraph(key: Key) -> str:
    default = "must be given" if key.default == MISSING else f"default {show(key.default)}"
    parts = [type_text(key.hint), limits_text(key.limits), default]
    if "registry" in key.limits:
        parts.insert(1, f"see `vidalign list {key.limits['registry']}s`")
    return f"{key.name}: {key.help}\n    {'; '.join(part for part in parts if part)}"
