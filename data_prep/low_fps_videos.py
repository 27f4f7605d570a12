"""Write videos again at 3 frames per second, in parallel; what is there already is left alone, so it can be broken off.

    python data_prep/low_fps_videos.py RAW OUTPUT [--fps 3] [--workers 8] [--short-side-px 256]
    python data_prep/low_fps_videos.py RAW data/lfvila8m/videos --metadata hdvila_part0.jsonl

Without --metadata every video below RAW is written to the same place below OUTPUT. With HD-VILA's metadata (per line
{video_id, clip: [{clip_id, span}]}) RAW holds `<video_id>.mp4`, and every clip is cut out by its span and written to
OUTPUT/<video_id>/<clip_id>. Videos that cannot be used are listed at the end. Sound is left out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package of this checkout, installed or not

from vidalign.cli import guarded
from vidalign.common.errors import DataError
from vidalign.data.sets.rows import told_as_data_error
from vidalign.media.load import VIDEO_SUFFIXES
from vidalign.media.reencode import Job, reencode_all


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, write the videos, print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw", type=Path, help="folder of the videos as downloaded")
    parser.add_argument("output", type=Path, help="folder to write to")
    parser.add_argument(
        "--metadata", type=Path, nargs="+", help="HD-VILA metadata, JSON Lines: cut clips by their spans"
    )
    parser.add_argument("--fps", type=float, default=3.0, help="frames per second (default 3)")
    parser.add_argument("--short-side-px", type=int, help="shrink to this length of the shorter side (default: as is)")
    parser.add_argument("--decoder", default="pyav", choices=("decord", "torchcodec", "pyav"))
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    given = parser.parse_args(arguments)
    jobs = list(clips(given.raw, given.output, given.metadata) if given.metadata else whole(given.raw, given.output))
    if not jobs:
        raise DataError(f"{given.raw}: no videos ({', '.join(VIDEO_SUFFIXES[:5])}) in it; give the folder of the files")
    done = reencode_all(
        jobs, fps=given.fps, short_side_px=given.short_side_px, decoder=given.decoder, workers=given.workers
    )
    print(f"{done.written} written, {done.found} found, {len(done.failed)} cannot be used -> {given.output}")
    for target, reason in done.failed:
        print(f"  {target.relative_to(given.output)}: {reason}")
    if not done.written + done.found:
        raise DataError(f"{given.raw}: nothing could be made of what is asked for; the reasons stand above")


def whole(raw: Path, output: Path) -> Iterator[Job]:
    """Every video below a folder."""
    for path in sorted(raw.rglob("*")):
        if path.suffix in VIDEO_SUFFIXES and path.is_file():
            yield Job(path, (output / path.relative_to(raw)).with_suffix(".mp4"))


def clips(raw: Path, output: Path, metadata: Sequence[Path]) -> Iterator[Job]:
    """Every clip of the metadata."""
    for file, number, line in _lines(metadata):
        try:
            row = json.loads(line)
            source, folder = raw / f"{row['video_id']}.mp4", output / row["video_id"]
            spans = {clip["clip_id"]: tuple(map(seconds, clip["span"])) for clip in row["clip"]}
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{file}:{number}: not a row of HD-VILA's metadata ({error})") from error
        yield from (Job(source, folder / name, span) for name, span in spans.items())


def _lines(files: Sequence[Path]) -> Iterator[tuple[Path, int, str]]:
    for path in files:
        with told_as_data_error(path):
            lines = path.read_text(encoding="utf-8").splitlines()
        yield from ((path, number, line) for number, line in enumerate(lines, start=1))


def seconds(clock: str) -> float:
    """hh:mm:ss.mmm -> seconds."""
    hours, minutes, rest = clock.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(rest)


if __name__ == "__main__":
    sys.exit(guarded(main))
