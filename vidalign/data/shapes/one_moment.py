"""Clips whose question is answered in one of 16 equal intervals: a large cross flashes up, and its colour is asked.

A kind of its own length (32 frames), beside those of world.py; `datasets.shapes.kinds=[moment]` draws it. In every
interval two small things of the same colours stand somewhere else; the ground is bright while the cross is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidalign.common.rng import draw_seed
from vidalign.data.shapes.draw import FLASH_GROUND, NOISE, RGB, _mask
from vidalign.data.shapes.questions import Question
from vidalign.data.shapes.world import COLOURS, FLASH, FPS, SHAPES, SIZE_PX, Clip, Frame, Thing

if TYPE_CHECKING:
    import numpy as np

KIND, QTYPE = "moment", "MO"
GROUPS = {"moment": (QTYPE,)}
INTERVALS, INTERVAL_FRAMES = 16, 2
ASKED = "which colour is the cross"
SMALL = 2  # things beside the cross
CROSS_PX = 16.0  # half its width: it spans half the picture
DRAWN_BY = (INTERVALS, INTERVAL_FRAMES, SMALL, CROSS_PX, FLASH_GROUND)  # raised with DRAWING of files.py otherwise


def moment_clip(seed: int, split: str, index: int) -> Clip:
    """The clip `index` of a split; equal for equal arguments."""
    import numpy as np

    rng = np.random.default_rng(draw_seed(seed, 0, f"{split}/{index}", "shapes moment"))
    at, colour = int(rng.integers(INTERVALS)), str(rng.choice(COLOURS))
    frames: list[Frame] = []
    for interval in range(INTERVALS):
        frame = small_things(rng) + ((cross(rng, colour),) if interval == at else ())
        frames += [frame] * INTERVAL_FRAMES
    seconds = INTERVAL_FRAMES / FPS
    windows = [(round(at * seconds, 3), round((at + 1) * seconds, 3))]
    return Clip(f"{split}_{index:05d}", KIND, tuple(frames), {"answer": colour, "interval": at, "windows": windows})


def still(rng: np.random.Generator) -> tuple[Frame, bool]:
    """(a picture of this world by itself, whether its ground is bright): every second one has a cross.

    Half of those without a cross are bright too, so that brightness says nothing about colours.
    """
    seen = small_things(rng)
    if rng.integers(2):
        return (*seen, cross(rng, str(rng.choice(COLOURS)))), True
    return seen, bool(rng.integers(2))


def small_things(rng: np.random.Generator) -> Frame:
    """Two things of any colours, in different quarters."""
    spots = [(x, y) for x in (0, 1) for y in (0, 1)]
    quarters = [spots[i] for i in rng.permutation(len(spots))[:SMALL]]
    return tuple(
        Thing(
            str(rng.choice(SHAPES)),
            str(rng.choice(COLOURS)),
            float(32 * x + rng.uniform(6, 26)),
            float(32 * y + rng.uniform(6, 26)),
            float(rng.uniform(4, 6)),
        )
        for x, y in quarters
    )


def cross(rng: np.random.Generator, colour: str) -> Thing:
    """The cross, wholly inside the picture."""
    x, y = rng.uniform(CROSS_PX, SIZE_PX - CROSS_PX, 2)
    return Thing(FLASH, colour, float(x), float(y), CROSS_PX)


def draw_moment(clip: Clip) -> np.ndarray:
    """uint8 (32, 64, 64, 3), RGB."""
    import numpy as np

    rng = np.random.default_rng(draw_seed(0, 0, clip.clip_id, "shapes noise"))
    bright = [any(thing.shape == FLASH for thing in frame) for frame in clip.frames]
    return np.stack([picture(frame, lit, rng) for frame, lit in zip(clip.frames, bright, strict=True)])


def picture(frame: Frame, bright: bool, rng: np.random.Generator) -> np.ndarray:
    """uint8 (64, 64, 3): noise, ground, things one over the other."""
    import numpy as np

    seen = rng.integers(0, NOISE + 1, (SIZE_PX, SIZE_PX, 3), dtype=np.uint8) + np.uint8(FLASH_GROUND * bright)
    for thing in frame:
        seen[_mask(thing)] = RGB[thing.colour]
    return seen


def moment_question(clip: Clip, *, seed: int = 0) -> Question:
    """The colour of the cross, among four; the right letter is uniform."""
    import numpy as np

    rng = np.random.default_rng(draw_seed(seed, 0, clip.clip_id, "shapes questions"))
    return colour_question(rng, clip.facts["answer"])


def colour_question(rng: np.random.Generator, colour: str) -> Question:
    """`which colour is the cross`, with three other colours in any order."""
    others = [other for other in COLOURS if other != colour]
    options = [colour, *(others[i] for i in rng.permutation(len(others))[:3])]
    mixed = tuple(options[i] for i in rng.permutation(len(options)))
    return Question(QTYPE, ASKED, mixed, mixed.index(colour))
