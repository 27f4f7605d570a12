"""Clips -> pixels. Black ground with slight noise, flat colours; edges wrap around."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidalign.common.rng import draw_seed
from vidalign.data.shapes.world import FLASH, NUM_FRAMES, SIZE_PX, Clip, Thing

if TYPE_CHECKING:
    import numpy as np

RGB = {
    "red": (225, 40, 40),
    "green": (40, 190, 60),
    "blue": (60, 80, 235),
    "yellow": (230, 210, 40),
    "purple": (165, 55, 200),
    "cyan": (40, 205, 215),
    "white": (250, 250, 250),
}
NOISE = 6  # largest brightness of the ground's noise
FLASH_GROUND = 90  # the ground lights up while the cross is there


def draw(clip: Clip) -> np.ndarray:
    """uint8 (30, 64, 64, 3), RGB."""
    import numpy as np

    rng = np.random.default_rng(draw_seed(0, 0, clip.clip_id, "shapes noise"))
    video = rng.integers(0, NOISE + 1, (NUM_FRAMES, SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
    for picture, frame in zip(video, clip.frames, strict=True):
        if any(thing.shape == FLASH for thing in frame):
            picture += np.uint8(FLASH_GROUND)
        for thing in frame:
            picture[_mask(thing)] = RGB[thing.colour]
    return video


def _mask(thing: Thing) -> np.ndarray:
    """bool (64, 64): the pixels of a thing."""
    import numpy as np

    half = SIZE_PX / 2
    axis = np.arange(SIZE_PX) + 0.5
    dx = ((axis - thing.x + half) % SIZE_PX - half)[None]
    dy = ((axis - thing.y + half) % SIZE_PX - half)[:, None]
    r = thing.radius
    if thing.shape == "circle":
        return dx**2 + dy**2 <= r**2
    if thing.shape == "square":
        return np.maximum(abs(dx), abs(dy)) <= 0.88 * r
    if thing.shape == "diamond":
        return abs(dx) + abs(dy) <= 1.2 * r
    if thing.shape == FLASH:
        return (np.minimum(abs(dx), abs(dy)) <= 0.3 * r) & (np.maximum(abs(dx), abs(dy)) <= r)
    return (dy <= 0.8 * r) & (abs(dx) <= 0.55 * (dy + r))  # triangle, tip upwards
