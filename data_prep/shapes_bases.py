"""Make the tiny pretrained models of the drawn benchmark, or find them in the cache.

    python data_prep/shapes_bases.py [--cache cache] [--parts clip llm visual_start] [--workers 2]

They are made from clips of their own, never from train, val or test clips, and the language models from text alone. The
seconds, and what was measured on unseen clips, stand in cache/shapes_bases/<part>.report.json.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package of this checkout, installed or not

from vidalign.cli import guarded

_SHOWN = {
    "clip_own_caption": "nearest caption of an unseen frame is its own",
    "letters_from_text": "lettered questions answered from textual frames",
    "letters": "lettered questions answered",
    "answers_from_text": "open-ended questions answered from textual frames",
    "answers_from_pictures": "the same, every frame read as a picture",
    "words_read": "words of every place read from its feature",
}


def main() -> None:
    """Parse the command line, make the bases, print the reports."""
    from vidalign.runners.shapes.bases import make_bases
    from vidalign.runners.shapes.parts import PARTS
    from vidalign.runners.shapes.settings import BaseSettings

    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--cache", type=Path, default=Path("cache"), help="the config's paths.cache (default cache)")
    command.add_argument(
        "--parts", nargs="+", default=["clip", "llm", "visual_start"], help=f"which: {', '.join(PARTS)}"
    )
    command.add_argument("--redo", action="store_true", help="make them anew even if they are there")
    command.add_argument("--workers", type=int, default=2, help="parts made at once, one thread each (default 2)")
    for field in fields(BaseSettings):
        command.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=type(field.default),
            default=field.default,
            help=f"see BaseSettings in runners/shapes/settings.py (default {field.default})",
        )
    options = command.parse_args()
    given = {field.name: getattr(options, field.name) for field in fields(BaseSettings)}
    start = time.monotonic()
    reports = make_bases(
        options.cache / "shapes_bases",
        replace(BaseSettings(), **given),
        parts=options.parts,
        redo=options.redo,
        workers=options.workers,
    )
    print(f"bases ready after {time.monotonic() - start:.0f} s")
    for name, report in reports.items():
        print(f"  {name}: {'made' if report['made'] else 'found, once made'} in {report['seconds']:.0f} s", end="")
        for key, text in _SHOWN.items():
            print(f"; {text}: {_numbers(report[key])}" if key in report else "", end="")
        print()


def _numbers(value: float | dict[str, float]) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {share:.2f}" for name, share in value.items())
    return f"{value:.2f}"


if __name__ == "__main__":
    sys.exit(guarded(main))
