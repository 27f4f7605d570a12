"""Subtitles -> the dialogue line of a prompt, by the rule of each benchmark; and the .srt reader.

Source: official Flipped-VQA / BoViLA loaders (specification bovila, section 4.6). A line is kept when it ends inside
the window and starts inside it or spans its start; lines that outlast the window are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from vidalign.common.errors import DataError
from vidalign.common.sample import Subtitle

_WHOLE_CLIP = (-1000, 1000)
_TIMES = re.compile(r"\s*(\d+):(\d+):(\d+)(?:[,.:](\d+))?\s*-->\s*(\d+):(\d+):(\d+)(?:[,.:](\d+))?")


def dialogue_text(rule: str, subtitles: Sequence[Subtitle], span: tuple[float, float] | None) -> str | None:
    """The dialogue inside `span` (seconds; None: the whole clip) as one string, None when the prompt has no such line.

    rule: "vlep" (dashes removed, nothing between lines, the line stays when empty) or "tvqa" (a blank before every
    subtitle, no line when empty).
    """
    if rule not in _RULES:
        raise DataError(f"unknown dialogue rule {rule!r}; known: {', '.join(_RULES)}")
    # Kept: the window is rounded half to even, the times of the lines are cut to whole seconds (cases data_vlep_sub,
    # data_tvqa_sub).
    start, end = (round(span[0]), round(span[1])) if span else _WHOLE_CLIP
    return _RULES[rule](subtitles, start, end)


def _vlep(subtitles: Sequence[Subtitle], start: int, end: int) -> str:
    kept = [line.text for line in subtitles if _inside(int(line.start), int(line.end), start, end)]
    # Kept: lines are glued together without a blank, as in case data_vlep_sub.
    return "".join(kept).replace("-", "")


def _tvqa(subtitles: Sequence[Subtitle], start: int, end: int) -> str | None:
    # Kept: hours are dropped (minutes * 60 + seconds), newlines become blanks, every line gets a leading blank, so the
    # prompt has two after "Dialogue:" (case data_tvqa_sub).
    kept = [
        " " + line.text.replace("\n", " ")
        for line in subtitles
        if _inside(int(line.start) % 3600, int(line.end) % 3600, start, end)
    ]
    return "".join(kept) or None


_RULES = {"vlep": _vlep, "tvqa": _tvqa}


def _inside(first: int, last: int, start: int, end: int) -> bool:
    return last <= end and (first >= start or first <= start <= last)


def parse_srt(text: str, *, name: str = "srt") -> tuple[Subtitle, ...]:
    """Lines of a SubRip file in file order; `name` is used in errors.

    Blocks are divided by empty lines. A block without a time line is the rest of a text that contains an empty line;
    it is left out, as pysrt (the official reader) does. A file without any valid block but with text is an error.
    """
    blocks = [block for block in re.split(r"\n[ \t]*(?:\n[ \t]*)+", _plain(text)) if block.strip()]
    lines = [line for block in blocks if (line := _parse_block(block)) is not None]
    if blocks and not lines:
        raise DataError(f"{name}: no subtitle like '00:00:01,000 --> 00:00:02,000' found; is this an .srt file?")
    return tuple(lines)


def _plain(text: str) -> str:
    return text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n").strip("\n")


def _parse_block(block: str) -> Subtitle | None:
    rows = block.split("\n")
    for number, row in enumerate(rows[:2]):
        match = _TIMES.match(row)
        if match:
            values = match.groups()
            body = "\n".join(line.rstrip() for line in rows[number + 1 :])
            return Subtitle(start=_seconds(*values[:4]), end=_seconds(*values[4:]), text=body)
    return None


def _seconds(hours: str, minutes: str, seconds: str, fraction: str | None) -> float:
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float(f"0.{fraction or 0}")


def read_srt(path: Path) -> tuple[Subtitle, ...]:
    """Read one .srt file (UTF-8, else Latin-1, which old files use)."""
    data = path.read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return parse_srt(text, name=str(path))
