"""Four-moment paragraphs: every clip has a twin with the same moments in another order, so content is not enough."""

from __future__ import annotations

from vidalign.common.rng import draw_seed
from vidalign.data.shapes.world import COLOURS, FPS, NUM_FRAMES, SHAPES, SIZE_PX, Clip, Thing

NUM_MOMENTS = 4


def paragraph_pair(seed: int, split: str, index: int) -> tuple[Clip, Clip]:
    """The pair `index` of a split: two clips of four moments, the second in a different order of the first's."""
    import numpy as np

    rng = np.random.default_rng(draw_seed(seed, 0, f"{split}/{index}", "shapes paragraphs"))
    looks = [(str(rng.choice(SHAPES)), str(c)) for c in rng.permutation(COLOURS)[:NUM_MOMENTS]]
    spots = [tuple(float(v) for v in rng.uniform(10, SIZE_PX - 10, 2)) for _ in looks]
    moments = list(zip(looks, spots, strict=True))
    order = list(range(NUM_MOMENTS))
    while order == list(range(NUM_MOMENTS)):
        order = [int(i) for i in rng.permutation(NUM_MOMENTS)]
    return _clip(f"{split}_pair{index:05d}a", moments), _clip(f"{split}_pair{index:05d}b", [moments[i] for i in order])


def _clip(clip_id: str, moments: list[tuple[tuple[str, str], tuple[float, float]]]) -> Clip:
    # 30 frames do not divide by four: the moments have 8, 7, 8, 7 frames.
    edges = [round(NUM_FRAMES * m / NUM_MOMENTS) for m in range(NUM_MOMENTS + 1)]
    parts = list(zip(edges, edges[1:], strict=False))
    frames: list[tuple[Thing]] = []
    sentences = []
    for ((shape, colour), (x, y)), (first, end) in zip(moments, parts, strict=True):
        thing = Thing(shape, colour, x, y, 9.0)
        frames += [(thing,)] * (end - first)
        sentences.append(f"a {colour} {shape} is at the {thing.place}")
    windows = [(round(a / FPS, 3), round(b / FPS, 3)) for a, b in parts]
    return Clip(clip_id, "paragraph", tuple(frames), {"sentences": sentences, "windows": windows})
