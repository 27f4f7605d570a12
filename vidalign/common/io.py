"""Files: atomic writes, content keys, JSON Lines."""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any


@contextmanager
def atomic_write(path: Path | str, mode: str = "w") -> Iterator[IO[Any]]:
    """Write to a temporary file beside `path`, flush it to disk, then rename it into place.

    A reader sees the old file or the whole new one. On any error the temporary file goes and `path` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    finally:
        with suppress(OSError):  # renamed, or gone already; what went wrong before says more than a leftover
            os.unlink(name)


def first_repeated(names: Iterable[str]) -> str | None:
    """The first name that stands there more than once, None where there is none."""
    return next((name for name, count in Counter(names).items() if count > 1), None)


def finite(value: Any) -> Any:
    """Plain JSON values in which a number that is not finite is null: JSON has neither NaN nor infinity."""
    if isinstance(value, Mapping):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path | str, value: Any) -> None:
    """Indented JSON, atomically; numbers that are not finite as null."""
    with atomic_write(path) as file:
        json.dump(finite(value), file, indent=2, ensure_ascii=False, sort_keys=False, allow_nan=False)
        file.write("\n")


# Line breaks to str.splitlines and many editors, though not to JSON: written raw they would tear a record in two.
_BREAKS = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def json_line(value: Any, **settings: Any) -> str:
    """JSON that is one line to every reader, without the newline at its end."""
    return json.dumps(value, ensure_ascii=False, **settings).translate(_BREAKS)


def content_key(*parts: Any) -> str:
    """Sixteen hex digits that name the content of `parts` (JSON-serialisable values; bytes are taken as they are)."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else json.dumps(part, sort_keys=True, default=str).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def file_key(path: Path) -> str:
    """Content key of a file by its size and bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:16]


def append_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Append rows as JSON Lines and flush them to disk; numbers that are not finite as null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as file:
        for row in rows:
            file.write(json_line(finite(row), allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
