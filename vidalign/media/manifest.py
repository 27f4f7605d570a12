"""The manifest of a video folder: what `vidalign scan` found out about every file, and what the loader reads.

JSON Lines. The first line says {"format": 1, "root": folder, "decoder": "decord 0.6.0"}, every other line is one Entry.
An entry counts as long as size and modification time of its file are the same; a changed file is checked again.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidalign.common.errors import DataError, MediaError
from vidalign.common.io import atomic_write, json_line

MANIFEST = "vidalign-manifest.jsonl"  # beside the videos
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One file. None means: not known (not readable that far, or PyAV is not installed).

    status: "ok"; "damaged" (opens, but its first or last frame cannot be decoded: some Samples may be usable); "bad"
    (nothing can be decoded). `reason` says why, in the words of the prediction record. seconds: frames / fps;
    header_seconds: what the container claims. edits: entries of the edit list (mp4); hidden_frames: frames that it
    hides. variable_rate: distances between frames differ. rotation: degrees counter-clockwise. decoders_differ: why
    decoders show different frames of this file; warnings: other oddities; one sentence each.
    """

    file: str
    size: int
    mtime_ns: int
    decoder: str
    status: str = "ok"
    reason: str | None = None
    container: str | None = None
    codec: str | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    frames: int | None = None
    seconds: float | None = None
    header_seconds: float | None = None
    edits: int | None = None
    hidden_frames: int | None = None
    variable_rate: bool | None = None
    rotation: int | None = None
    first_frame: bool | None = None
    last_frame: bool | None = None
    decoders_differ: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def of_this(self, size: int, mtime_ns: int) -> bool:
        """True while the file has not changed."""
        return (self.size, self.mtime_ns) == (size, mtime_ns)


class Manifest:
    """Entries by path relative to `root`."""

    def __init__(self, root: Path, entries: Mapping[str, Entry]) -> None:
        self.root, self.entries = root, entries

    def entry(self, path: Path) -> Entry | None:
        """What the manifest says of this path, whether or not the file has changed since."""
        for place, root in ((os.path.abspath(path), self.root), (os.path.realpath(path), os.path.realpath(self.root))):
            name = os.path.relpath(place, root)
            if name in self.entries:
                return self.entries[name]
        return None

    def check(self, path: Path, *, decoder: str) -> bool | None:
        """MediaError with the recorded reason, without opening it, for a file that is known to be bad.

        Else whether it should first be tried in a child process: True when it has changed since it was scanned, False
        when it is known to be good, None when nothing is known of it with this decoder.
        """
        known = self.entry(path)
        # Reasons that were told without a decoder (folder, empty, no permission) are found again at no cost.
        if known is None or known.decoder.split()[0] != decoder or known.first_frame is None:
            return None
        try:
            now = path.stat()
        except OSError:
            return None
        if not known.of_this(now.st_size, now.st_mtime_ns):
            return True
        if known.status == "bad":
            raise MediaError(known.reason or f"{path.name} is unusable by the manifest of {self.root}")
        return False


def find_manifest(media_root: Path, named: Path | None) -> Manifest | None:
    """The manifest that a dataset names, else the one beside its videos or in a folder above them (two at most)."""
    if named is not None:
        return read_manifest(named)
    for folder in (media_root, *media_root.parents[:2]):
        if (folder / MANIFEST).is_file():
            return read_manifest(folder / MANIFEST)
    return None


def read_manifest(path: Path) -> Manifest:
    """DataError, with line and remedy, for a file that is no manifest of ours."""
    remedy = "make it again with `vidalign scan`"
    try:
        lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the manifest cannot be read ({error}); {remedy}") from error
    head = _object(path, 1, lines[0] if lines else "", remedy)
    if head.get("format") != FORMAT or not isinstance(head.get("root"), str):
        raise DataError(f"{path}: format {head.get('format')!r}, this program reads {FORMAT}; {remedy}")
    known = {one.name for one in dataclasses.fields(Entry)}
    entries = {}
    for number, line in enumerate(lines[1:], start=2):
        values = _object(path, number, line, remedy)
        try:
            lists = {name: tuple(values[name]) for name in ("warnings", "decoders_differ") if name in values}
            entry = Entry(**{name: value for name, value in (values | lists).items() if name in known})
        except TypeError as error:
            raise DataError(f"{path}:{number}: not an entry of a manifest ({error}); {remedy}") from error
        entries[entry.file] = entry
    # Relative where the manifest lies in the folder it describes, so that the folder may be moved.
    return Manifest(Path(os.path.abspath(path.parent / head["root"])), entries)


def write_manifest(path: Path, root: Path, entries: Mapping[str, Entry], *, decoder: str) -> None:
    """Write atomically, entries sorted by name."""
    whole = os.path.abspath(root)
    inside = whole == os.path.dirname(os.path.abspath(path))
    head = {"format": FORMAT, "root": "." if inside else whole, "decoder": decoder}
    with atomic_write(path) as file:
        file.write(json_line(head) + "\n")
        for name in sorted(entries):
            values = dataclasses.asdict(entries[name])
            told = {key: value for key, value in values.items() if value not in (None, ())}
            file.write(json_line(told) + "\n")


def _object(path: Path, number: int, line: str, remedy: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}:{number}: not a line of JSON ({error}); {remedy}") from error
    if not isinstance(values, dict):
        raise DataError(f"{path}:{number}: an object expected, found {type(values).__name__}; {remedy}")
    return values
