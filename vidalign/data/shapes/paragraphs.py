"""Four-moment paragraphs: every clip has a twin with the same moments in another order, so content is not enough.

A sentence says colour and shape, not the place: training mirrors pictures.
"""

from __future__ import annotations

from vidalign.common.rng import draw_seed
from vidalign.data.shapes.questions import RANKS
from vidalign.data.shapes.world import COLOURS, FPS, NUM_FRAMES, SHAPES, SIZE_PX, Clip, Thing

NUM_MOMENTS = 4
RADIUS_PX = 20.0
# Of a moment's seven or eight frames three are written: files of 12 frames, 4 per second.
KEPT_FRAMES = tuple(round(number * (NUM_FRAMES - 1) / 11) for number in range(12))
WORDS = ("a", *COLOURS, *SHAPES, "what", "is", "seen", *RANKS)

Moment = tuple[str, str, float, float]  # shape, colour, x, y


def paragraph_pair(seed: int, split: str, index: int) -> tuple[Clip, Clip]:
    """The pair `index` of a split: two clips of four moments, the second in a different order of the first's."""
    import numpy as np

    rng = np.random.default_rng(draw_seed(seed, 0, f"{split}/{index}", "shapes paragraphs"))
    colours = [str(colour) for colour in rng.permutation(COLOURS)[:NUM_MOMENTS]]
    moments = []
    for colour in colours:
        x, y = rng.uniform(RADIUS_PX, SIZE_PX - RADIUS_PX, 2)
        moments.append((str(rng.choice(SHAPES)), colour, float(x), float(y)))
    order = list(range(NUM_MOMENTS))
    while order == list(range(NUM_MOMENTS)):
        order = [int(i) for i in rng.permutation(NUM_MOMENTS)]
    return _clip(f"{split}_pair{index:05d}a", moments), _clip(f"{split}_pair{index:05d}b", [moments[i] for i in order])


def _clip(clip_id: str, moments: list[Moment]) -> Clip:
    # 30 frames do not divide by four: the moments have 8, 7, 8, 7 frames.
    edges = [round(NUM_FRAMES * m / NUM_MOMENTS) for m in range(NUM_MOMENTS + 1)]
    parts = list(zip(edges, edges[1:], strict=False))
    frames: list[tuple[Thing]] = []
    for (shape, colour, x, y), (first, end) in zip(moments, parts, strict=True):
        frames += [(Thing(shape, colour, x, y, RADIUS_PX),)] * (end - first)
    sentences = [f"a {colour} {shape}" for shape, colour, _, _ in moments]
    windows = [(round(a / FPS, 3), round(b / FPS, 3)) for a, b in parts]
    return Clip(clip_id, "paragraph", tuple(frames), {"sentences": sentences, "windows": windows})
