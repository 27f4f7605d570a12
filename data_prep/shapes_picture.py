"""A picture of one drawn video with its question and a run's scores.

python data_prep/shapes_picture.py --run output/bovila_shapes --output docs/shapes.png [--uid shapes/test/...]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package of this checkout, installed or not

from vidalign.cli import guarded
from vidalign.common.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

    from vidalign.common.record import Record
    from vidalign.common.sample import Sample

_SCALE, _LINE, _MARGIN, _FRAMES = 2, 22, 10, 10


def main() -> None:
    """Read the run's config and records, decode the video, write the picture."""
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--run", type=Path, required=True, help="folder of a run on shapes")
    command.add_argument("--output", type=Path, required=True, help="picture file to write")
    command.add_argument("--uid", help="which question (default: the first of the test split)")
    options = command.parse_args()
    from vidalign.config.load import load
    from vidalign.data.shapes.builder import Shapes
    from vidalign.runners.evaluate import read_records

    config = load(str(options.run / "config.yaml"), [], [], purpose="train").datasets["shapes"]
    records = {record.uid: record for record in read_records(options.run / "predictions" / "shapes" / "test.jsonl")}
    builder = Shapes(config)
    samples = {sample.uid: sample for sample in builder.samples("test")}
    uid = options.uid or next(iter(samples))
    if uid not in samples or uid not in records:
        raise DataError(f"--uid {uid}: not in the test split of this run; the first is {next(iter(samples))}")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    picture(samples[uid], records[uid], builder.media_root / samples[uid].media.path).save(options.output)
    print(f"{options.output}: {json.dumps(samples[uid].question)}")


def picture(sample: Sample, record: Record, video: Path) -> Image:
    """Ten frames in a row, the question under them, each option with the share its score takes."""
    from PIL import Image, ImageDraw

    from vidalign.media.video import open_video

    with open_video(video, decoder="pyav") as reader:
        step = reader.num_frames // _FRAMES
        frames = reader.frames(list(range(step // 2, reader.num_frames, step))).numpy()
    side = frames.shape[1] * _SCALE
    width = _FRAMES * (side + 4) + 2 * _MARGIN
    canvas = Image.new("RGB", (width, side + (len(sample.options) + 1) * _LINE + 3 * _MARGIN), "white")
    for number, frame in enumerate(frames):
        canvas.paste(Image.fromarray(frame).resize((side, side)), (_MARGIN + number * (side + 4), _MARGIN))
    write = ImageDraw.Draw(canvas)
    write.text((_MARGIN, side + 2 * _MARGIN), f"{sample.question}?", fill="black", font_size=16)
    best = max(record.scores)
    shares = [math.exp(score - best) for score in record.scores]
    for index, (option, share) in enumerate(zip(sample.options, shares, strict=True)):
        top = side + 2 * _MARGIN + (index + 1) * _LINE
        colour = "seagreen" if index == sample.answer_idx else "silver"
        write.rectangle((_MARGIN + 130, top + 3, _MARGIN + 131 + 300 * share / sum(shares), top + 16), fill=colour)
        chosen = "   chosen" if index == record.pred_idx else ""
        write.text((_MARGIN, top), f"({'ABCDEFGH'[index]}) {option}", fill="black", font_size=15)
        write.text((_MARGIN + 445, top), f"{record.scores[index]:.2f}{chosen}", fill="black", font_size=15)
    return canvas


if __name__ == "__main__":
    sys.exit(guarded(main))
