"""What to say when a file or folder that a user named is not there."""

from __future__ import annotations

import re
from pathlib import Path

from vidalign.common.errors import nearest


def missing(path: Path | str, *, folder: bool = False) -> str | None:
    """None when `path` is there (as a folder, where asked), else a sentence with the nearest name beside it."""
    path = Path(path)
    if path.is_dir() if folder else path.exists():
        return None
    if path.exists():
        return f"{path} is a file, a folder is wanted."
    parent = path.parent
    if not parent.is_dir():
        existing = next(one for one in parent.parents if one.is_dir() or one == one.parent)
        wrong = next(one for one in (*reversed(parent.parents), parent) if not one.is_dir())
        return f"{path} does not exist: there is no folder {wrong}.{_near(wrong, existing)}"
    return f"{path} does not exist.{_near(path, parent)}"


def missing_model(name: str) -> str | None:
    """Like `missing` for the folder of a Hugging Face model; a hub name (`owner/model`) is looked up later."""
    if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", name) and not Path(name).parent.is_dir():
        return None
    return missing(name, folder=True)


def _near(path: Path, parent: Path) -> str:
    near = nearest(path.name, (entry.name for entry in parent.iterdir()))
    return f" Did you mean {parent / near}?" if near else ""
