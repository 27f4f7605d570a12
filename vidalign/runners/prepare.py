"""data_prep/<benchmark>.py and `vidalign list benchmarks`: official files -> unified JSON Lines, counts, media.

    python data_prep/nextqa.py FOLDER [--output OUT] [--check] [--media VIDEOS] [--options key=value ...]

writes OUT/<split>.jsonl (one Sample per line, common/sample.py) and OUT/prepared.json (counts, what was left out, what
is odd, content keys of the files read). Runs read the official files themselves; the unified ones are for other
programs and for `own_data`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vidalign.cli import guarded
from vidalign.common.errors import DataError
from vidalign.common.io import file_key, write_json
from vidalign.common.sample import Media, write_samples
from vidalign.data.check import findings
from vidalign.data.sets.base import AnnotationBuilder
from vidalign.registry import DATASETS
from vidalign.runners.annotations import ReadSplit, parse_settings, read_annotations, table

# Folder names of the official repositories, where they are not the benchmark's.
_FOLDERS = {
    "egoschema": ("egos",),
    "mvbench": ("MVBench",),
    "nextqa_oe": ("nextoe",),
    "msrvtt_qa": ("MSRVTT-QA",),
    "msvd_qa": ("MSVD-QA",),
    "valley": ("video_panda/train",),
    "videochatgpt_tune": ("video_panda/train",),
}


def main(dataset: str, argv: Sequence[str] | None = None) -> int:
    """The command line of a data_prep script; returns the exit code, 2 for a mistake of the user."""
    given = _parser(dataset).parse_args(argv)
    return guarded(lambda: prepare(dataset, given))


def prepare(dataset: str, given: argparse.Namespace) -> None:
    """Read, write, scan, print the table."""
    settings = parse_settings(given.options) | {"expect_counts": given.check}
    read = []
    for one in read_annotations(given.place, dataset=dataset, split=given.split, settings=settings):
        if given.output:
            write_samples(given.output / f"{_name(one)}.jsonl", one.samples)
        read.append(one)
    print(table(read, media=False))
    if given.media:
        from vidalign.media.manifest import MANIFEST
        from vidalign.media.scan import scan

        manifest = given.media / MANIFEST
        report = scan(given.media, manifest=manifest, decoder=given.decoder, workers=given.workers, progress=False)
        print(media_table(read, given.media, {name: entry.status for name, entry in report.entries.items()}))
        print(f"manifest for the trainer: {manifest}")
    if given.output:
        write_json(given.output / "prepared.json", {"dataset": dataset, "splits": [_facts(one) for one in read]})
        print(f"written to {given.output}")


def media_table(read: Iterable[ReadSplit], root: Path, statuses: dict[str, str]) -> str:
    """How many videos of each split are there and whole. statuses: path below `root` -> status of the scan."""
    from vidalign.media.load import resolve_video

    lines = [f"{'split':<24}{'videos':>8}{'ok':>8}{'damaged':>9}{'bad':>6}{'missing':>9}"]
    for one in read:
        counts = {"ok": 0, "damaged": 0, "bad": 0, "missing": 0}
        videos: dict[str, Media] = {s.media.video_id: s.media for s in one.samples if s.media}
        for media in videos.values():
            path = resolve_video(root, media)
            inside = path.relative_to(root).as_posix() if path.exists() else ""
            counts[statuses.get(inside, "missing")] += 1
        numbers = "".join(f"{counts[name]:>{width}}" for name, width in zip(counts, (8, 9, 6, 9), strict=True))
        lines.append(f"{_name(one):<24}{len(videos):>8}{numbers}")
    return "\n".join(lines)


def benchmarks(data_root: Path) -> str:
    """Which benchmarks lie under `data_root`, one folder each: the splits found, and whether the videos are there."""
    lines = [f"benchmarks under {data_root}"]
    for name in DATASETS:
        cls = DATASETS.load(name)
        if issubclass(cls, AnnotationBuilder):
            folder = next((data_root / one for one in _FOLDERS.get(name, ()) if (data_root / one).is_dir()), None)
            lines.append(f"  {name:<22}{_state(cls, folder or data_root / name)}")
    return "\n".join(lines)


def _state(cls: type[AnnotationBuilder], root: Path) -> str:
    if not root.is_dir():
        return f"missing: no folder {root}"
    try:
        found = cls.find(root)
    except DataError as error:
        return f"unreadable: {error}"
    if not found:
        return f"missing: no annotation file ({', '.join(cls.patterns)})"
    splits: dict[str, list[str]] = {}
    for one in found:
        splits.setdefault("/".join(one.settings.values()), []).append(one.split)
    said = "; ".join(f"{kind + ': ' if kind else ''}{', '.join(names)}" for kind, names in splits.items())
    folders = [name for name in ("videos", "clips", "gifs", "frames") if (root / name).is_dir()]
    features = sorted(path.name for path in root.glob("clipvitl14*"))
    media = ", ".join([f"{name}/" for name in folders] + features) or "neither videos nor features"
    return f"found: {said} ({media})"


def _name(one: ReadSplit) -> str:
    return "_".join([*one.found.settings.values(), one.found.split])


def _facts(one: ReadSplit) -> dict[str, Any]:
    return {
        "split": one.found.split,
        "settings": dict(one.found.settings),
        "file": one.found.path.name,
        "file_key": file_key(one.found.path),
        "samples": len(one.samples),
        "published": one.builder.expected_count(one.found.split),
        "left_out": one.builder.left_out,
        "odd": {what: len(uids) for what, uids in findings(one.samples).items()},
    }


def _parser(dataset: str) -> argparse.ArgumentParser:
    entry = DATASETS.entry(dataset)
    parser = argparse.ArgumentParser(
        prog=f"data_prep/{Path(sys.argv[0]).name}",
        description=f"{entry.summary}: official files -> unified JSON Lines.",
    )
    parser.add_argument("place", type=Path, metavar="FILE_OR_FOLDER", help="as the distribution hands them out")
    parser.add_argument("--output", type=Path, metavar="OUT", help="folder of the JSON Lines and of prepared.json")
    parser.add_argument("--split", help="only this split; for a file of any name: what it is")
    parser.add_argument("--check", action="store_true", help="error where the number of rows is not the published one")
    parser.add_argument("--media", type=Path, metavar="VIDEOS", help="scan this folder of videos, write its manifest")
    parser.add_argument("--decoder", default="decord", choices=("decord", "torchcodec", "pyav"), help="for --media")
    parser.add_argument("--workers", type=int, default=2, help="for --media: files examined at the same time")
    parser.add_argument(
        "--options", nargs="*", action="extend", default=[], metavar="KEY=VALUE", help="e.g. kind=count"
    )
    return parser
