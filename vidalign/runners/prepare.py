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

# Folders below paths.data_root, where they are not called like the benchmark (configs/datasets/*.yaml name them).
FOLDERS = {
    **{"egoschema": "egos", "mvbench": "MVBench"},
    **dict.fromkeys(("valley", "videochatgpt_tune"), "video_panda/train"),
}
# Questions about the developers' own videos, in their own folder.
OF_OURS = ("clips", "clips_qa", "clip_captions", "clips_paragraphs")
# Where the distributions and the systems' own data sets keep videos, frames and features.
_MEDIA_FOLDERS = (
    *("videos", "clips", "gifs", "frames", "features", "NExTVideo", "Charades_v1_480", "videos_3fps"),
    *("vlep_ytb_clips", "frames_hq", "AnotherMissOh_images"),
)


def main(dataset: str, argv: Sequence[str] | None = None) -> int:
    """The command line of a data_prep script; returns the exit code, 2 for a mistake of the user."""
    given = _parser(dataset).parse_args(argv)
    return guarded(lambda: prepare(dataset, given))


def prepare(dataset: str, given: argparse.Namespace) -> None:
    """Read, write, scan, print the table."""
    settings = parse_settings(given.options, dataset) | ({"expect_counts": True} if given.check else {})
    read = []
    for one in read_annotations(given.place, dataset=dataset, split=given.split, settings=settings):
        if given.output:
            write_samples(given.output / f"{_name(one)}.jsonl", one.samples)
        read.append(one)
    print(table(read, media=False))
    if given.media:
        from vidalign.media.manifest import MANIFEST
        from vidalign.media.scan import scan

        manifest = given.manifest or given.media / MANIFEST
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
    lines = []
    for name in DATASETS:
        if issubclass(DATASETS.load(name), AnnotationBuilder) and name not in OF_OURS:
            lines.append(f"  {name:<22}{_state(name, data_root / FOLDERS.get(name, name))}")
    found = sum("found: " in line for line in lines)
    head = f"benchmarks under {data_root}: {found} of {len(lines)} found"
    return "\n".join([head, *lines, "What a benchmark needs and where its files belong: configs/datasets/NAME.yaml"])


def _state(name: str, root: Path) -> str:
    cls = DATASETS.load(name)
    wanted = f"({', '.join(cls.patterns[:3])}{', ...' if len(cls.patterns) > 3 else ''})"
    if not root.is_dir():
        return f"missing: no folder {root} {wanted}"
    try:
        found = cls.find(root)
    except DataError as error:
        return f"unreadable: {error}"
    if not found:
        return f"missing: no annotation file in {root} {wanted}"
    splits: dict[str, list[str]] = {}
    for one in found:
        splits.setdefault("/".join(one.settings.values()), []).append(one.split)
    said = "; ".join(f"{kind + ': ' if kind else ''}{', '.join(names)}" for kind, names in splits.items())
    return f"found: {said} ({_media(name, root)})"


def _media(name: str, root: Path) -> str:
    """The folder of the videos and the feature files that are there."""
    videos = DATASETS.load(name)(DATASETS.config(name)(root=str(root))).media_root
    folders = {videos, *(root / one for one in _MEDIA_FOLDERS)} - {root}
    there = [f"{folder.relative_to(root).as_posix()}/" for folder in sorted(folders) if folder.is_dir()]
    there += sorted(path.name for pattern in ("clipvitl14*", "features.pkl") for path in root.glob(pattern))
    return ", ".join(there) or "neither videos nor features"


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
    parser.add_argument("--manifest", type=Path, metavar="FILE", help="for --media: another place for the manifest")
    parser.add_argument("--decoder", default="decord", choices=("decord", "torchcodec", "pyav"), help="for --media")
    parser.add_argument("--workers", type=int, default=2, help="for --media: files examined at the same time")
    parser.add_argument(
        "--options", nargs="*", action="extend", default=[], metavar="KEY=VALUE", help="e.g. kind=count"
    )
    return parser
