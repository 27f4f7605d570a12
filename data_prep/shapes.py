"""Write the drawn benchmark as files: mp4 clips, unified JSON Lines of every task, other benchmarks' official formats.

    python data_prep/shapes.py --output data/shapes [--splits train val test] [--options datasets.shapes.seed=1 ...]

Training needs none of this: `datasets: {shapes: ...}` draws what is missing. It is for reading the benchmark with other
builders (nextqa/, star/, qvhighlights/, lf_vila/ below the folder) or with other programs (unified/).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package of this checkout, installed or not

from vidalign.cli import guarded

CONFIG = Path(__file__).resolve().parents[1] / "configs/bovila/shapes_train.yaml"


def main() -> None:
    """Parse the command line, draw, write, print what was written."""
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--output", type=Path, required=True, help="folder for videos and files")
    command.add_argument("--splits", nargs="+", default=["train", "val", "test"], help="which (default all three)")
    command.add_argument("--options", nargs="*", default=[], metavar="KEY=VALUE", help="changes of the config")
    given = command.parse_args()

    from vidalign.config.load import load
    from vidalign.data.shapes.builder import Shapes
    from vidalign.data.shapes.files import draw_missing
    from vidalign.data.shapes.formats import pairs_beside, write_all
    from vidalign.data.shapes.paragraphs import paragraph_pair

    config = load(str(CONFIG), given.options).datasets["shapes"]
    builder, videos = Shapes(config), given.output / "videos"
    for split in given.splits:
        clips = builder.clips(split)
        pairs = [paragraph_pair(config.seed, split, index) for index in range(pairs_beside(clips))]
        draw_missing([*clips, *(clip for pair in pairs for clip in pair)], videos, workers=config.workers)
        write_all(clips, split, given.output, seed=config.seed)
    for path in sorted(given.output.rglob("*.*")):
        if path.parent != videos:
            print(f"{path.relative_to(given.output)!s:<44}{path.stat().st_size:>12,} bytes")
    print(f"{'videos/':<44}{len(list(videos.iterdir())):>12,} clips")


if __name__ == "__main__":
    sys.exit(guarded(main))
