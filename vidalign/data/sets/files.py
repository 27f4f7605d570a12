"""Which splits lie in a folder or a file: told from the names that the distributions use.

A pattern is such a name relative to the root with fields in braces: `STAR_{split}.json`, `{task}/{split}.csv`. Fields
other than `split` are settings of the dataset's config.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_FIELD = re.compile(r"\{(\w+)\}")
_SPLIT_WORDS = ("train", "val", "valid", "validation", "dev", "test", "subset", "training", "testing")
_COMMON_NAMES = {"valid": "val", "validation": "val", "dev": "val", "training": "train", "testing": "test"}


@dataclass(frozen=True)
class FoundFile:
    """One annotation file: the root it belongs to, its split, the settings its name tells, and the pattern that read
    them ("" where none fits)."""

    path: Path
    root: Path
    split: str
    settings: Mapping[str, str] = field(default_factory=dict)
    pattern: str = ""


def match(pattern: str, path: Path) -> FoundFile | None:
    """`path` read by `pattern`, None when its name is another. Without {split} in the pattern the split is ""."""
    depth = pattern.count("/") + 1
    whole = path if len(path.parts) > depth else path.absolute()
    name = "/".join(whole.parts[-depth:])
    found = _regex(pattern).fullmatch(name)
    if found is None:
        return None
    settings = found.groupdict()
    split = settings.pop("split", "")
    return FoundFile(path, whole.parents[depth - 1], split, settings, pattern)


def named_file(patterns: Sequence[str], path: Path, known: Iterable[str]) -> FoundFile | None:
    """`path` by the pattern that says most about its name (`how2QA_{split}_release.csv` before `{split}.csv`).

    None when no pattern fits, or only such as would take any name for that of a split. known: split names.
    """
    fitting = [(_literal(pattern), match(pattern, path)) for pattern in patterns]
    fitting = [(literal, one) for literal, one in fitting if one is not None]
    usual = [(literal, one) for literal, one in fitting if is_split(one.split, known)]
    telling = usual or [(literal, one) for literal, one in fitting if not literal.startswith(".")]
    return max(telling, key=lambda pair: len(pair[0]))[1] if telling else None


def in_folder(patterns: Sequence[str], root: Path, known: Iterable[str]) -> list[FoundFile]:
    """Every file under `root` that a pattern names, in the order of the patterns, then by name. known: split names."""
    found: dict[Path, FoundFile] = {}
    for pattern in patterns:
        for path in sorted(root.glob(_FIELD.sub("*", pattern))):
            one = match(pattern, path) if path.is_file() else None
            if one is not None and is_split(one.split, known):
                found.setdefault(path, one)
    return list(found.values())


def split_in_name(path: Path, known: Iterable[str] = ()) -> str:
    """The split that a file of any other name holds: a word of its name (dev is val), else the whole stem."""
    words = re.split(r"[^a-zA-Z0-9]+", path.stem)
    for word in words:
        low = word.lower()
        if low in known or low in _SPLIT_WORDS:
            return low if low in known else _COMMON_NAMES.get(low, low)
    return path.stem


def is_split(name: str, known: Iterable[str]) -> bool:
    """Whether a name can be a split, so that `{split}.json` does not take every file of a folder for one."""
    return name in ("", *known) or all(word in (*_SPLIT_WORDS, "public", "1", "2") for word in name.lower().split("_"))


def _literal(pattern: str) -> str:
    return _FIELD.sub("", pattern)


def _regex(pattern: str) -> re.Pattern[str]:
    parts = _FIELD.split(pattern)
    text = [re.escape(part) if i % 2 == 0 else f"(?P<{part}>[^/]+?)" for i, part in enumerate(parts)]
    return re.compile("".join(text))
