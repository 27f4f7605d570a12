"""`vidalign data` and `vidalign score`: annotation files and predictions without a model."""

from __future__ import annotations

import argparse
from typing import Any


def add_commands(commands: Any) -> None:
    """The commands about annotation files and predictions."""
    one = commands.add_parser("data", help="read a benchmark's annotation files and show or print its samples")
    one.add_argument("place", metavar="FILE_OR_FOLDER", help="as the distribution hands them out")
    one.add_argument("--dataset", required=True, metavar="NAME", help="see `vidalign list datasets`")
    one.add_argument("--split", help="only this split; for a file of any name: what it is")
    one.add_argument("--json", action="store_true", help="print the samples as JSON Lines instead of a table")
    one.add_argument("--check", action="store_true", help="error where the number of rows is not the published one")
    one.add_argument("--media", action="store_true", help="look for the video files as well")
    _add_settings(one)
    one.set_defaults(run=_data)

    one = commands.add_parser("score", help="metrics of a predictions file (ours or official) without a model")
    one.add_argument("predictions", metavar="PREDICTIONS", help="a run's predictions/*.jsonl, or an official file")
    one.add_argument("--dataset", required=True, metavar="NAME", help="see `vidalign list datasets`")
    one.add_argument("--annotations", required=True, metavar="PATH", help="annotation file, or the folder of them")
    one.add_argument("--split", help="which split of the folder; otherwise the one whose ids fit")
    one.add_argument("--json", action="store_true", help="print JSON instead of a table")
    _add_settings(one)
    one.add_argument("--allow-missing", action="store_true", help="samples without a prediction count as wrong")
    one.add_argument(
        "--judge",
        nargs="+",
        metavar=("NAME", "KEY=VALUE"),
        help="also what a judge says of open-ended answers (`vidalign list judges`); keys: `vidalign explain "
        "task.judge`, e.g. --judge exact, --judge recorded path=replies.jsonl",
    )
    one.add_argument("--submission", metavar="FOLDER", help="write the file that the benchmark's server takes as well")
    one.set_defaults(run=_score)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--options",
        nargs="*",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="settings of the dataset, e.g. subtitles=true official_order=true",
    )


def _score(given: argparse.Namespace) -> None:
    import json

    from vidalign.runners.annotations import parse_settings
    from vidalign.runners.judges import judge_of
    from vidalign.runners.score import score, table

    result = score(
        given.predictions,
        dataset=given.dataset,
        annotations=given.annotations,
        split=given.split,
        settings=parse_settings(given.options, given.dataset),
        submission=given.submission,
        allow_missing=given.allow_missing,
        judge=judge_of(given.judge) if given.judge else None,
    )
    print(json.dumps(result.to_dict(), indent=2, ensure_ascii=False) if given.json else table(result))


def _data(given: argparse.Namespace) -> None:
    from vidalign.common.io import json_line
    from vidalign.common.sample import to_dict
    from vidalign.runners.annotations import parse_settings, read_annotations, table

    settings = parse_settings(given.options, given.dataset) | ({"expect_counts": True} if given.check else {})
    splits = read_annotations(given.place, dataset=given.dataset, split=given.split, settings=settings)
    if not given.json:
        print(table(list(splits), media=given.media))
        return
    for one in splits:
        for sample in one.samples:
            print(json_line(to_dict(sample), sort_keys=True))
