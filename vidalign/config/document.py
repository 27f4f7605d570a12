"""One YAML file -> plain values, and the line of every key. Mistakes of the YAML itself are found here."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import yaml

from vidalign.common.paths import missing
from vidalign.config.problems import Problem


class _Loader(yaml.SafeLoader):
    """YAML 1.1 with numbers like 1e-5, which the standard reads as text, and without dates: 2024-01-01 is a name."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


_KEY = re.compile(r"[\w-]+(\.[\w-]+)*")  # `run.seed: 3` is the same as `run: {seed: 3}`


_MAX_DEPTH, _MAX_VALUES = 40, 100_000


@dataclass
class Document:
    """Values of one file and, for each dotted key, its "file:line"."""

    path: Path
    values: dict[str, Any] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)


def parse_value(text: str) -> Any:
    """The value of `a.b=TEXT` on the command line; raises ValueError when it is not YAML."""
    try:
        loader = _Loader(text)
        node = _root(loader)
        problems = _walk(node, "", Document(Path())) if node is not None else []
        value = loader.construct_document(node) if node is not None else None
    except yaml.YAMLError as error:
        raise ValueError(_plain(error)) from error
    if problems:
        raise ValueError(f"{problems[0].key}: {problems[0].text}")
    return value


def read(path: Path, asked_by: str, key: str) -> tuple[Document, list[Problem]]:
    """Read one file. `asked_by` and `key` are the place that named it; what cannot be read gives an empty document."""
    document = Document(path)
    if sentence := missing(path):
        return document, [Problem(asked_by, key, f"{sentence} Correct the path.")]
    if not path.is_file():  # a folder; reading a pipe would wait for ever
        return document, [Problem(asked_by, key, f"cannot read {path}: it is no file. Give a YAML text file.")]
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return document, [Problem(asked_by, key, f"cannot read {path}: {error}. Give a YAML text file.")]
    try:
        problems = _parse(text, document)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a number like 0x_
        line = _line_of(error, text)
        return document, [Problem(f"{path}:{line}", "", f"malformed YAML: {_plain(error)}. {_advice(text, line)}")]
    return document, problems


def _parse(text: str, document: Document) -> list[Problem]:
    """Fill the document; raises YAMLError or ValueError when the text is malformed."""
    loader = _Loader(text)
    node = _root(loader)
    if node is None:
        return []
    if not isinstance(node, yaml.MappingNode):
        advice = "the file is not a block of keys. A config has the blocks model, datasets, task, run, paths."
        return [Problem(f"{document.path}:{node.start_mark.line + 1}", "", advice)]
    problems = _walk(node, "", document)
    document.values = _clean(loader.construct_document(node))
    return problems


def _root(loader: _Loader) -> yaml.Node | None:
    """The parsed text; a YAMLError when its values would be endless or huge (aliases of aliases of aliases ...)."""
    try:
        node = loader.get_single_node()
    except RecursionError:
        raise _refused("blocks or brackets are nested too deeply") from None
    if node is not None:
        _size(node, (), {})
    return node


def _size(node: yaml.Node, parents: tuple[yaml.Node, ...], known: dict[yaml.Node, int]) -> int:
    """Number of values below a node, an alias counted as what it stands for."""
    if node in known or isinstance(node, yaml.ScalarNode):
        return known.get(node, 1)
    if node in parents:
        raise _refused("a block contains itself", node)
    if len(parents) == _MAX_DEPTH:
        raise _refused("blocks or brackets are nested too deeply", node)
    inside = (one for pair in node.value for one in pair) if isinstance(node, yaml.MappingNode) else node.value
    known[node] = 1 + sum(_size(one, (*parents, node), known) for one in inside)
    if known[node] > _MAX_VALUES:
        raise _refused("its aliases stand for far too many values", node)
    return known[node]


def _refused(why: str, node: yaml.Node | None = None) -> yaml.YAMLError:
    return yaml.composer.ComposerError(None, None, why, node.start_mark if node is not None else None)


def _walk(node: yaml.Node, prefix: str, document: Document) -> list[Problem]:
    """Note the place of every key below `node`; report keys that stand twice."""
    if not isinstance(node, yaml.MappingNode):
        return []
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    for key, value in node.value:
        name = str(key.value)
        dotted = f"{prefix}{name}"
        line = key.start_mark.line + 1
        if name in seen and name != "<<":
            text = f"the key stands twice in this block, first in line {seen[name]}. Remove one of the two."
            problems.append(Problem(f"{document.path}:{line}", dotted, text))
        elif not _KEY.fullmatch(name) and name != "<<":
            text = "no key looks like this: letters, digits, _ and - only. Rename it or remove it."
            problems.append(Problem(f"{document.path}:{line}", dotted, text))
        seen.setdefault(name, line)
        document.places[dotted] = f"{document.path}:{line}"
        problems += _walk(value, f"{dotted}.", document)
    return problems


def _clean(value: Any) -> Any:
    """Without the keys that `_walk` has refused; all keys as text."""
    if not isinstance(value, dict):
        return value
    return {str(key): _clean(child) for key, child in value.items() if _KEY.fullmatch(str(key))}


def _line_of(error: Exception, text: str) -> int:
    if isinstance(error, yaml.reader.ReaderError):
        return text.count("\n", 0, error.position) + 1
    mark = getattr(error, "problem_mark", None)
    return mark.line + 1 if mark else 1


def _plain(error: Exception) -> str:
    return str(getattr(error, "problem", None) or error).splitlines()[0]


def _advice(text: str, line: int) -> str:
    """The usual cause of what is wrong in or just above this line."""
    lines = text.splitlines()
    near = lines[max(0, line - 2) : line]
    if any("\t" in one for one in near):
        return "Indent with spaces, not tabs."
    if any(re.search(r"[{\[,]\s*[^\"']*\$\{", one) for one in near):
        return 'Inside { } or [ ] write interpolations in quotes: "${paths.data_root}/star".'
    if any("???" in one for one in near):
        return 'Inside { } or [ ] write "???" in quotes.'
    if any(re.search(r"[{\[]", one) for one in near):
        return "Check that every { and [ is closed."
    return "Check the indentation and that each key has `: ` behind it."
