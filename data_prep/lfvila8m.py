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

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vidalign.common.io import atomic_write, json_line

SHORTEST = 4
Clip = dict[str, str]


def clock(text: str) -> float:
    """hh:mm:ss.mmm -> seconds."""
    hours, minutes, seconds = text.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


def runs(ids: Sequence[str], known: Mapping[str, Mapping], *, gap_seconds: float) -> Iterator[list[Clip]]:
    """Runs of at least four clips of one line of ids that follow one another within `gap_seconds` and have texts."""
    run: list[Clip] = []
    end = None
    for name in [*ids, None]:
        clip = known.get(name) if name is not None else None
        text = clip.get("text", "").strip() if clip else ""
        start = clock(clip["span"][0]) if clip else None
        joined = bool(text) and (not run or abs(start - end) <= gap_seconds)
        if not joined:
            if len(run) >= SHORTEST:
                yield run
            run = []
        if text:
            run.append({"clip_id": name, "text": text})
            end = clock(clip["span"][1])


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


def read_metadata(paths: Iterable[Path]) -> dict[str, Mapping]:
    """clip id -> its entry."""
    known = {}
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines():
            known |= {clip["clip_id"]: clip for clip in json.loads(line)["clip"]}
    return known


def main(arguments: list[str] | None = None) -> int:
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
        for line in options.ids.read_text(encoding="utf-8").splitlines():
            lines += 1
            ids = json.loads(line)
            found = list(runs(ids, known, gap_seconds=options.gap_seconds))
            file.writelines(json_line(run) + "\n" for run in found)
            count, kept = count + len(found), kept + sum(map(len, found))
            reasons += lost(ids, known, found)
    print(f"{count} runs of {kept} clips from {lines} lines of ids -> {options.output}")
    print("".join(f"  left out: {number} clips {reason}\n" for reason, number in sorted(reasons.items())), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
