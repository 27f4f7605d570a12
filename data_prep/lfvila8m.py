"""Make LF-VILA-8M's records from published clip ids and HD-VILA's metadata.

    python data_prep/lfvila8m.py --ids clip_ids.jsonl --metadata hdvila_part0.jsonl --output data/lfvila8m/train.jsonl

ids: a list of clip ids per line, neighbours in time. metadata: per line {video_id, clip: [{clip_id, span, text}]}. A
run is cut where a clip has no text or where two clips do not follow one another; runs of fewer than four clips go.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vidalign.cli import guarded
from vidalign.common.errors import DataError
from vidalign.common.io import atomic_write, json_line
from vidalign.data.sets.rows import told_as_data_error

SHORTEST = 4
Clip = dict[str, str]


def clock(text: str) -> float:
    """hh:mm:ss.mmm -> seconds."""
    hours, minutes, seconds = text.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


def seconds_of(clip: Mapping[str, Any]) -> tuple[float, float]:
    """Start and end of a clip of the metadata."""
    try:
        start, end = map(clock, clip["span"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        text = f"span {clip.get('span')!r} is no pair of hh:mm:ss.mmm; correct the metadata"
        raise DataError(f"clip {clip['clip_id']}: {text}") from error
    return start, end


def runs(ids: Sequence[str], known: Mapping[str, Mapping], *, gap_seconds: float) -> Iterator[list[Clip]]:
    """Runs of at least four clips of one line of ids that follow one another within `gap_seconds` and have texts."""
    run: list[Clip] = []
    end = None
    for name in [*ids, None]:
        clip = known.get(name) if name is not None else None
        text = clip.get("text", "").strip() if clip else ""
        start, stop = seconds_of(clip) if clip else (None, None)
        joined = bool(text) and (not run or abs(start - end) <= gap_seconds)
        if not joined:
            if len(run) >= SHORTEST:
                yield run
            run = []
        if text:
            run.append({"clip_id": name, "text": text})
            end = stop


def lost(ids: Sequence[str], known: Mapping[str, Mapping], found: Sequence[Sequence[Clip]]) -> Counter[str]:
    """Why clips of a line are in no run, and how many."""
    used = {clip["clip_id"] for run in found for clip in run}
    reasons: Counter[str] = Counter()
    for name in ids:
        if name not in known:
            reasons["not in the metadata"] += 1
        elif not known[name].get("text", "").strip():
            reasons["without text"] += 1
        elif name not in used:
            reasons[f"in runs of fewer than {SHORTEST}"] += 1
    return reasons


def read_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """(number, value) of every line of a JSON Lines file but empty ones. DataError for one that is not JSON."""
    with told_as_data_error(path), open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                if line.strip():
                    yield number, json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{path}:{number}: not a line of JSON: {error}") from error


def read_metadata(paths: Iterable[Path]) -> dict[str, Mapping]:
    """clip id -> its entry."""
    known = {}
    for path in paths:
        for number, row in read_lines(path):
            try:
                known |= {clip["clip_id"]: clip for clip in row["clip"]}
            except (KeyError, TypeError) as error:
                raise DataError(f"{path}:{number}: not a row of HD-VILA's metadata ({error!r})") from error
    return known


def read_ids(path: Path) -> Iterator[list[str]]:
    """The clip ids of every line."""
    for number, ids in read_lines(path):
        if not isinstance(ids, list) or not all(isinstance(name, str) for name in ids):
            raise DataError(f"{path}:{number}: a list of clip ids expected")
        yield ids


def main(arguments: list[str] | None = None) -> None:
    """Entry point; prints how many runs were made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ids", type=Path, required=True, help="a JSON list of clip ids per line")
    parser.add_argument("--metadata", type=Path, required=True, nargs="+", help="HD-VILA metadata, JSON Lines")
    parser.add_argument("--output", type=Path, required=True, help="records, JSON Lines")
    parser.add_argument(
        "--gap-seconds", type=float, default=1.0, help="largest gap between clips that follow one another"
    )
    options = parser.parse_args(arguments)
    known = read_metadata(options.metadata)
    count = lines = kept = 0
    reasons: Counter[str] = Counter()
    with atomic_write(options.output) as file:
        for ids in read_ids(options.ids):
            lines += 1
            found = list(runs(ids, known, gap_seconds=options.gap_seconds))
            file.writelines(json_line(run) + "\n" for run in found)
            count, kept = count + len(found), kept + sum(map(len, found))
            reasons += lost(ids, known, found)
        if not count:
            why = ", ".join(f"{number} clips {reason}" for reason, number in sorted(reasons.items())) or "it is empty"
            raise DataError(f"{options.ids}: no run of {SHORTEST} clips in it: {why}; give the metadata of these clips")
    print(f"{count} runs of {kept} clips from {lines} lines of ids -> {options.output}")
    print("".join(f"  left out: {number} clips {reason}\n" for reason, number in sorted(reasons.items())), end="")


if __name__ == "__main__":
    sys.exit(guarded(main))
