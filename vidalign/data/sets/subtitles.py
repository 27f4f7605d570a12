"""Subtitle lines as several benchmarks store them: {start, end, text} with seconds."""

from __future__ import annotations

import math
from pathlib import Path

from vidalign.common.sample import Subtitle
from vidalign.data.sets.rows import Row, read_jsonl


def read_subtitles(path: Path) -> dict[str, tuple[Subtitle, ...]]:
    """jsonl of {vid_name, sub: [{start, end, text}]} -> lines per video, in file order."""
    return {row.text("vid_name"): subtitle_lines(row, "sub") for row in read_jsonl(path)}


def subtitle_lines(row: Row, field: str) -> tuple[Subtitle, ...]:
    """The list of {start, end, text} in a field of a row."""
    lines = row.get(field)
    if not isinstance(lines, list):
        raise row.error(field, "a list of {start, end, text} expected")
    return tuple(_line(row, field, entry) for entry in lines)


def _line(row: Row, field: str, entry: object) -> Subtitle:
    try:
        start, end, text = float(entry["start"]), float(entry["end"]), str(entry["text"])
    except (TypeError, KeyError, ValueError) as error:
        raise row.error(field, f"{entry!r} is not {{start, end, text}}: {error}") from error
    if not (math.isfinite(start) and math.isfinite(end)):
        raise row.error(field, f"{entry!r}: its times must be seconds")
    return Subtitle(start=start, end=end, text=text)
