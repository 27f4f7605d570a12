"""CLIP text features of the drawn world's captions and TOPA's support memory of them, or find them in the cache.

    python data_prep/shapes_captions.py [--cfg-path configs/topa/shapes_train.yaml] [--options key=value ...]

Needs the base models (data_prep/shapes_bases.py).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package of this checkout, installed or not

from vidalign.cli import guarded

CONFIG = Path(__file__).resolve().parents[1] / "configs/topa/shapes_train.yaml"


def main() -> None:
    """Parse the command line and write the folder of datasets.shapes_text.root."""
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--cfg-path", default=str(CONFIG))
    command.add_argument("--options", nargs="*", default=[], help="key=value")
    given = command.parse_args()

    from vidalign.config.load import load
    from vidalign.runners.shapes.captions import make_caption_features

    experiment = load(given.cfg_path, given.options)
    config = experiment.datasets["shapes_text"]
    report = make_caption_features(Path(config.root), Path(experiment.paths.cache) / "shapes_bases" / "clip", config)
    print(f"{report['videos']} textual videos in {config.root}; memory of {report['captions']} captions")


if __name__ == "__main__":
    sys.exit(guarded(main))
