"""Draw the paragraphs of the drawn benchmark and write the vocabulary of their words, or find them there.

    python data_prep/shapes_paragraphs.py [--options key=value ...]        as for run_scripts/lf_vila/shapes.sh

Into datasets.shapes_paragraphs.root; a run that finds everything there draws nothing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package of this checkout, installed or not

from vidalign.cli import guarded

CONFIG = Path(__file__).resolve().parents[1] / "configs/lf_vila/shapes_paragraphs_pretrain.yaml"


def main() -> None:
    """Parse the command line and fill the folder."""
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--options", nargs="*", default=[], help="key=value")
    given = command.parse_args()

    from vidalign.config.load import load
    from vidalign.data.shapes.paragraph_sets import ShapesParagraphs, write_vocabulary

    config = load(CONFIG, given.options).datasets["shapes_paragraphs"]
    write_vocabulary(Path(config.root) / "vocab.txt")
    builder = ShapesParagraphs(config)
    count = sum(len(builder.samples(split)) for split in ("train", "test"))
    print(f"{count} paragraphs in {config.root}")


if __name__ == "__main__":
    sys.exit(guarded(main))
