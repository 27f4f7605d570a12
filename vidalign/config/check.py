"""A merged tree against the dataclasses: every mistake of every block, then the Experiment when there is none."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from vidalign.common.errors import nearest, unknown
from vidalign.config.interpolate import resolve
from vidalign.config.keys import MISSING, Key, defaults, fields_of, plain, similar, walk
from vidalign.config.merge import Tree
from vidalign.config.problems import NOT_GIVEN, Problem, raise_all
from vidalign.config.schema import Experiment, PathsConfig, RunConfig
from vidalign.config.values import WrongValue, convert
from vidalign.registry import DATASETS, MODELS, TASKS, Registry

BLOCKS = ("model", "datasets", "task", "run", "paths")
_BROKEN = object()  # a value whose interpolation failed and is reported already


class Checker:
    """Collects the mistakes of one tree. With `allow_missing` a "???" stays in place and is no mistake."""

    def __init__(self, tree: Tree, *, allow_missing: bool = False) -> None:
        self.tree = tree
        self.allow_missing = allow_missing
        self.problems: list[Problem] = []
        self.schemas: dict[str, type] = {}  # "model", "datasets.star", ... -> its dataclass
        self.keys: list[Key] = []
        self._missing_below: set[str] = set()

    def experiment(self) -> Experiment | None:
        """The checked Experiment, None when `problems` holds anything."""
        self._choose_schemas()
        self._unknown_blocks()
        values = self._resolved()
        built = {name: self._build(schema, values[name], name) for name, schema in self.schemas.items()}
        if self.problems or self.tree.problems:
            return None
        return Experiment(
            model=built["model"],
            datasets={name.partition(".")[2]: one for name, one in built.items() if name.startswith("datasets.")},
            task=built["task"],
            run=built["run"],
            paths=built["paths"],
            plugins=list(self.tree.values.get("plugins", [])),
            path=str(self.tree.path),
            sources=dict(self.tree.places),
        )

    def block(self, schema: type) -> Any:
        """A tree that is one block only: the checked instance of `schema`, None when `problems` holds anything."""
        self.keys = list(walk(schema))
        return self._build(schema, _fill(schema, self.tree.values), "")

    def add(self, key: str, text: str, value: Any = NOT_GIVEN) -> None:
        """Report a mistake at the place where `key` was written."""
        self.problems.append(Problem(self.tree.place(key), key, text, value))

    def _choose_schemas(self) -> None:
        """Find the dataclass of every block; a misspelt name is checked as its nearest neighbour."""
        self._pick("model", "arch", MODELS)
        datasets = self._block("datasets", "datasets: {star: {root: ...}}")
        for name, values in (datasets or {}).items():
            key = f"datasets.{name}"
            if values is not None and not isinstance(values, dict):
                self.add(key, f"a block of keys is wanted. Write {name}: {{root: ...}}.", values)
            else:
                self._named(DATASETS, str(name), key, key)
        self._pick("task", "name", TASKS)
        for name, schema in (("run", RunConfig), ("paths", PathsConfig)):
            if self._block(name, f"{name}: {{...}}") is not None:
                self.schemas[name] = schema
        self.keys = [Key(name, dict, None, {}, None) for name in BLOCKS]
        for name, schema in self.schemas.items():
            self.keys += walk(schema, f"{name}.")
        self._check_ability()

    def _block(self, name: str, example: str) -> dict[str, Any] | None:
        """The written block, {} when it is absent; None with a mistake when it is not a block."""
        value = self.tree.values.get(name)
        needed = name in ("model", "datasets", "task")
        if not value and value in (None, {}):
            if needed and not self.tree.incomplete:
                self.add(name, f"the block `{name}` is needed. Write {example}")
            return None if needed else {}
        if isinstance(value, dict):
            return value
        self.add(name, f"a block of keys is wanted. Write {example}", value)
        return None

    def _pick(self, block: str, name_key: str, table: Registry) -> None:
        values = self._block(block, f"{block}: {{{name_key}: {next(iter(table))}}}")
        if values is None:
            return
        key = f"{block}.{name_key}"
        name = values.get(name_key, MISSING)
        if name == MISSING:
            if not self.tree.incomplete:
                text = f"needed: it names the {table.kind}. Known: {', '.join(table)}. Write one of them."
                self.add(key, text)
            return
        self._named(table, str(name), key, block)

    def _named(self, table: Registry, name: str, key: str, block: str) -> None:
        """Note the dataclass that the registry gives for `name`."""
        known = name if name in table else nearest(name, table)
        if name not in table:
            text = f"{unknown(table.kind, name, table)} Choose one, or name its plug-in with --plugins."
            self.add(key, text)
        if known is None:
            return
        try:
            schema = table.config(known)
        except (ImportError, AttributeError) as error:
            self.add(key, f"its config class {table.entry(known).config!r} cannot be imported ({error}). Correct it.")
            return
        if schema is None or not dataclasses.is_dataclass(schema):
            self.add(key, f"{table.kind} {known!r} has no config dataclass. Name one in its registry entry.")
            return
        self.schemas[block] = schema

    def _check_ability(self) -> None:
        """A task that asks for what the model cannot do."""
        # As text: a block where a name belongs is reported elsewhere, and cannot be looked up.
        model, task = (str(self.tree.get(key)) for key in ("model.arch", "task.name"))
        if model not in MODELS or task not in TASKS:
            return
        need, have = TASKS.entry(task).needs, MODELS.entry(model).abilities
        if need is None or need in have:
            return
        able = ", ".join(name for name in MODELS if need in MODELS.entry(name).abilities) or "none"
        fits = ", ".join(name for name in TASKS if TASKS.entry(name).needs in have) or "none"
        text = (
            f"this task needs `{need}`, which model {model!r} has not. Models that have it: {able}. "
            f"Tasks for {model!r}: {fits}. Choose another model.arch or task.name."
        )
        self.add("task.name", text, task)

    def _unknown_blocks(self) -> None:
        for name in self.tree.values:
            if name not in (*BLOCKS, "plugins"):
                self._unknown(str(name), self.tree.values[name], "")

    def _resolved(self) -> dict[str, Any]:
        """Values of all blocks by name, defaults filled in and interpolations resolved."""
        full: dict[str, Any] = {}
        for name, schema in self.schemas.items():
            block, _, inner = name.partition(".")
            written = self.tree.get(name) or {}
            filled = _fill(schema, written)
            if inner:
                full.setdefault(block, {})[inner] = filled
            else:
                full[name] = filled
        full, failures = resolve(full)
        values = {name: _at(full, name) for name in self.schemas}
        for key, (written, text) in failures.items():
            self.add(key, text, written)
            block = next(name for name in self.schemas if key.startswith(f"{name}."))
            values[block] = _marked(values[block], key[len(block) + 1 :].split("."))
        return values

    def _build(self, schema: type, values: dict[str, Any], home: str) -> Any:
        """An instance of `schema`, None when anything in it is wrong."""
        prefix = f"{home}." if home else ""
        known = fields_of(schema, prefix)
        arguments, before = {}, len(self.problems)
        for name, value in values.items():
            key = known.get(name)
            if key is None:
                self._unknown(f"{prefix}{name}", value, home)
            elif value is not _BROKEN:
                arguments[name] = self._value(key, value, home)
        if len(self.problems) > before:
            return None
        instance = schema(**arguments)
        self._rules(instance, home)
        return instance

    def _value(self, key: Key, value: Any, home: str) -> Any:
        if isinstance(value, str) and value == MISSING:
            self._missing_below.add(home)
            if not (self.allow_missing or self.tree.incomplete):
                text = f"needed: {key.help or 'it has no default'}. Give it in the file or with --options "
                self.add(key.name, f"{text}{key.name}=VALUE.")
            return value
        if key.block is not None and isinstance(value, dict):
            return self._build(key.block, value, key.name)
        try:
            return convert(key, value, self.tree.raw.get(key.name))
        except WrongValue as error:
            self.add(key.name, str(error), value)
            return None

    def _unknown(self, name: str, value: Any, home: str) -> None:
        kind, target = similar(name.rpartition(".")[2], self.keys, home)
        here = sorted(key.last for key in self.keys if key.name.rpartition(".")[0] == home)
        if kind == "belongs":
            text = f"unknown key here; it belongs to {target}. Move it there."
        elif kind == "typo":
            text = f"unknown key. Did you mean {target}? Rename it or remove it."
        else:
            text = f"unknown key. Known in this block: {', '.join(here)}. Remove it or write one of these."
        shown = NOT_GIVEN if isinstance(value, dict) else value
        self.add(name, text, shown)

    def _rules(self, instance: Any, home: str) -> None:
        """What the block itself says of values that do not fit each other."""
        if any(one == home or one.startswith(f"{home}.") for one in self._missing_below):
            return  # nothing can be said of values that are not there
        for key, text in getattr(instance, "problems", list)():
            self.add(f"{home}.{key}".lstrip("."), text, _scalar(instance, key))


def checked_block(schema: type, tree: Tree) -> Any:
    """An instance of `schema` from a tree that holds its keys; ConfigError with every mistake."""
    checker = Checker(tree)
    instance = checker.block(schema)
    raise_all([*tree.problems, *checker.problems], str(tree.path))
    return instance


def told_by(instance: Any, method: str, home: str) -> Iterator[tuple[str, str]]:
    """(dotted key, text) from the hook `method` of a config dataclass and of the dataclasses inside it."""
    for key, text in getattr(instance, method, list)():
        yield f"{home}.{key}", text
    for one in dataclasses.fields(instance):
        inner = getattr(instance, one.name)
        if dataclasses.is_dataclass(inner):
            yield from told_by(inner, method, f"{home}.{one.name}")


def _scalar(instance: Any, key: str) -> Any:
    value = instance
    for part in key.split("."):
        value = getattr(value, part, NOT_GIVEN)
    return NOT_GIVEN if dataclasses.is_dataclass(value) or isinstance(value, dict) else value


def _fill(schema: type, written: dict[str, Any]) -> dict[str, Any]:
    """What was written over the defaults; unknown keys stay, to be reported."""
    filled = defaults(schema)
    known = fields_of(schema)
    for name, value in written.items():
        block = known[name].block if name in known else None
        optional = name in known and known[name].default is None
        if block is not None and (isinstance(value, dict) or (value is None and not optional)):
            value = _fill(block, value or {})
        filled[str(name)] = plain(value)
    return filled


def _at(values: dict[str, Any], dotted: str) -> Any:
    for part in dotted.split("."):
        values = values[part]
    return values


def _marked(values: dict[str, Any], path: list[str]) -> dict[str, Any]:
    """A copy in which the value at `path` is _BROKEN."""
    first, *rest = path
    return {**values, first: _marked(values[first], rest) if rest else _BROKEN}
