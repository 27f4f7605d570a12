"""Make the tiny pretrained models of the drawn benchmark (CLIP, language model, tokenizer), or find them in the cache.

    python data_prep/shapes_bases.py [--cache cache] [--threads 2]

They are made from clips of their own, never from train, val or test clips, and the language model from text alone. What
was measured on unseen clips, and the seconds of each part, stand in cache/shapes_bases/report.json.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package of this checkout, installed or not

from vidalign.cli import guarded


def main() -> None:
    """Parse the command line, make the bases, print the report."""
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--cache", type=Path, default=Path("cache"), help="the config's paths.cache (default cache)")
    command.add_argument("--redo", action="store_true", help="make them anew even if they are there")
    command.add_argument("--threads", type=int, default=2, help="threads of the arithmetic (default 2)")
    for name in ("seed", "picture_clips", "picture_steps", "text_clips", "text_steps"):
        command.add_argument(
            f"--{name.replace('_', '-')}", type=int, help="see BaseSettings in runners/shapes_bases.py"
        )
    options = command.parse_args()
    import torch

    from vidalign.runners.shapes_bases import BaseSettings, make_bases

    torch.set_num_threads(options.threads)
    named = {field.name for field in fields(BaseSettings)}
    given = {key: value for key, value in vars(options).items() if key in named and value is not None}
    report = make_bases(options.cache / "shapes_bases", replace(BaseSettings(), **given), redo=options.redo)
    seconds = sum(report["seconds"].values())
    print(f"bases {'made in' if report['made'] else 'found; they were made in'} {seconds:.0f} s: {report['seconds']}")
    print(f"CLIP: nearest caption of an unseen frame is its own: {report['clip_own_caption']:.2f}")
    letters = report["letters_from_text"]
    types = ", ".join(f"{name} {share:.2f}" for name, share in letters.items() if name != "core")
    print(f"language model, lettered core questions from textual frames: {letters['core']:.2f} ({types})")


if __name__ == "__main__":
    sys.exit(guarded(main))
