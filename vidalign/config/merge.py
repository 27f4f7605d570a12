"""Base files, the file itself and --options merged into one tree, each value with its source."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vidalign.config.document import Document, parse_value, read
from vidalign.config.problems import COMMAND_LINE, Problem


@dataclass
class Tree:
    """Merged values; `places` gives "file:line" or "--options" for each dotted key that was written anywhere.

    `raw` keeps the text of command-line values. `incomplete` is set when a file could not be read: then missing
    values are no mistake of their own.
    """

    path: Path
    files: list[Path] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    raw: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    incomplete: bool = False

    def place(self, key: str) -> str:
        """Where `key` was written, else its nearest written parent, else the first line of the file."""
        while key and key not in self.places:
            key = key.rpartition(".")[0]
        return self.places.get(key, f"{self.path}:1")

    def merge(self, key: str, value: Any, place: Callable[[str], str]) -> None:
        """Blocks merge key by key; everything else, lists included, replaces what was there."""
        if not isinstance(value, dict):
            self.put(key, value, place(key))
            return
        if not isinstance(self.get(key), dict):
            self.put(key, {}, place(key))
        self.places[key] = place(key)
        for name, child in value.items():
            self.merge(f"{key}.{name}", child, place)

    def get(self, key: str) -> Any:
        """The value under a dotted key, None where there is none."""
        node: Any = self.values
        for part in key.split("."):
            node = node.get(part) if isinstance(node, dict) else None
        return node

    def put(self, key: str, value: Any, place: str) -> None:
        """Set one dotted key; whatever was below it before is forgotten."""
        *parents, last = key.split(".")
        node = self.values
        for depth, parent in enumerate(parents, start=1):
            if not isinstance(node.get(parent), dict):
                node[parent] = {}
                self.places[".".join(parents[:depth])] = place
            node = node[parent]
        node[last] = value
        for known in [name for name in (*self.places, *self.raw) if name.startswith(f"{key}.")]:
            self.places.pop(known, None)
            self.raw.pop(known, None)
        self.places[key] = place


def gather(path: Path, overrides: list[str]) -> Tree:
    """Read `path` with everything it is based on, then apply `overrides` ("a.b=c")."""
    tree = Tree(path)
    _add_file(tree, path, asked_by="--cfg-path", key="", parents=())
    for override in overrides:
        _override(tree, override)
    return tree


def of_options(overrides: Sequence[str]) -> Tree:
    """A tree of nothing but command-line options: the keys of one block ("subtitles=true")."""
    tree = Tree(Path(COMMAND_LINE), places={"": COMMAND_LINE})
    for override in overrides:
        _override(tree, override)
    return tree


def _add_file(tree: Tree, path: Path, *, asked_by: str, key: str, parents: tuple[Path, ...]) -> None:
    """Merge the bases of `path` and then `path` itself into the tree."""
    document, problems = read(path, asked_by, key)
    tree.files.append(path)
    tree.problems += problems
    tree.incomplete |= bool(problems)
    for base in _bases(document, tree):
        place = document.places["base"]
        if base in (*parents, path):
            circle = " -> ".join(str(one) for one in (*parents, path, base))
            tree.problems.append(Problem(place, "base", f"the base files go in a circle: {circle}. Remove one `base`."))
        elif base not in tree.files:  # a file below two others is merged once, under both
            _add_file(tree, base, asked_by=place, key="base", parents=(*parents, path))
    plugins = document.values.pop("plugins", None)
    if plugins is not None:
        _add_plugins(tree, plugins, document)
    for name, value in document.values.items():
        emptied = value is None and isinstance(tree.values.get(str(name)), dict)  # a block with nothing below it
        if not emptied:
            tree.merge(str(name), value, lambda key: document.places.get(key, f"{path}:1"))


def _bases(document: Document, tree: Tree) -> list[Path]:
    """The files under `document`, normalised, so that one file has one name."""
    value = document.values.pop("base", None)
    names = [value] if isinstance(value, str) else value or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        text = "`base` names files. Write base: other.yaml or base: [first.yaml, second.yaml]."
        tree.problems.append(Problem(document.places["base"], "base", text, value))
        return []
    return [Path(os.path.normpath(document.path.parent / os.path.expanduser(name))) for name in names]


def _add_plugins(tree: Tree, value: Any, document: Document) -> None:
    """Plug-ins of all files add up; a .py file is looked for beside the YAML first, then in the working folder."""
    place = document.places["plugins"]
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        text = "`plugins` names modules. Write plugins: [my_module] or plugins: [path/to/file.py]."
        tree.problems.append(Problem(place, "plugins", text, value))
        return
    names = [os.path.expanduser(name) for name in names]
    beside = [document.path.parent / name for name in names]
    found = [os.path.normpath(near) if near.is_file() else name for near, name in zip(beside, names, strict=True)]
    tree.values.setdefault("plugins", []).extend(found)
    tree.places["plugins"] = place


def _override(tree: Tree, text: str) -> None:
    key, equals, raw = text.partition("=")
    key = key.strip()
    if not equals or not re.fullmatch(r"[\w-]+(\.[\w-]+)*", key):
        advice = "an option is KEY=VALUE without blanks around the =, e.g. run.max_steps=100."
        tree.problems.append(Problem(COMMAND_LINE, "", f"{text!r}: {advice}{_like_flag(text)}"))
        return
    if key in ("base", "plugins"):
        advice = "is read from the file only." if key == "base" else "is given by --plugins on the command line."
        tree.problems.append(Problem(COMMAND_LINE, key, f"`{key}` {advice}", raw))
        return
    try:
        value = parse_value(raw)
    except ValueError as error:
        advice = f"the value is malformed: {error}. Lists are written [1,2]; quote the whole option in the shell."
        tree.problems.append(Problem(COMMAND_LINE, key, advice, raw))
        return
    tree.merge(key, value, lambda _: COMMAND_LINE)
    tree.raw[key] = raw


def _like_flag(text: str) -> str:
    flag = difflib.get_close_matches(text.lstrip("-").partition("=")[0], ["plugins", "dry-run", "cfg-path"], n=1)
    return f" Did you mean the flag --{flag[0]}?" if flag else ""
