"""Letter-boxed frames of Video-Panda: which frames, how large, where the border is (arXiv 2412.18609).

Specification video_panda, sections 4.1 to 4.3. Sizes are counted in patches of the teacher: the picture's long side
fills the square, the short one is rounded up to whole patches; the student's picture is twice as fine.

Shape letters: T frames, H W source pixels, P side of the square in pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vidalign.media.transforms import CLIP_MEAN, normalize_clip
from vidalign.models.video_panda.boxes import Box, empty_box

BORDER = tuple(int(255 * mean) for mean in CLIP_MEAN)


@dataclass(frozen=True)
class Letterbox:
    """A square of `side` x `side` patches; the picture has rows x cols of them, the first at (top, left)."""

    side: int
    top: int
    left: int
    rows: int
    cols: int
    patch_px: int

    @property
    def box(self) -> Box:
        """The picture in patches."""
        return Box(self.top, self.left, self.top + self.rows, self.left + self.cols)

    def finer(self) -> Letterbox:
        """The student's: the same place in a square of twice as many patches."""
        return Letterbox(2 * self.side, 2 * self.top, 2 * self.left, 2 * self.rows, 2 * self.cols, self.patch_px)


def letterbox_of(width: int, height: int, *, side: int, patch_px: int) -> Letterbox:
    """The teacher's letter box for a source of width x height pixels.

    Kept: the short side is rounded up to whole patches, so the picture is slightly stretched; a patch of border that
    cannot be halved goes below or to the right. [preprocess_640x40]
    """
    base = side * patch_px
    short, long = sorted((width, height))
    patches = math.ceil(base * short / long / patch_px)
    border = (side - patches) // 2
    if width > height:
        return Letterbox(side, border, 0, patches, side, patch_px)
    return Letterbox(side, 0, border, side, patches, patch_px)


def letterboxed(frames_THW3: np.ndarray, place: Letterbox) -> np.ndarray:
    """uint8 (T, H, W, 3) -> uint8 (T, P, P, 3): Pillow's bicubic resize, on a canvas of the mean colour."""
    from PIL import Image

    size = (place.cols * place.patch_px, place.rows * place.patch_px)
    canvas = np.empty((len(frames_THW3), *(2 * [place.side * place.patch_px]), 3), dtype=np.uint8)
    canvas[:] = BORDER
    top, left = place.top * place.patch_px, place.left * place.patch_px
    for number, frame in enumerate(frames_THW3):
        # The default of Image.resize for RGB: bicubic with antialias.
        small = Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC)
        canvas[number, top : top + size[1], left : left + size[0]] = np.asarray(small)
    return canvas


@dataclass(frozen=True)
class Clip:
    """One video or picture as the model gets it: student (T, 3, P, P) and teacher (T, 3, P/2, P/2) pictures, uint8.

    boxes: the student's, one per frame; padded frames at the end are empty.
    """

    student: Tensor
    teacher: Tensor | None
    boxes: tuple[Box, ...]


def make_clip(
    frames_THW3: np.ndarray,
    *,
    num_frames: int,
    side: int,
    patch_px: int,
    student_flip: bool = False,
    teacher_flip: bool = False,
    teacher: bool = True,
) -> Clip:
    """Decoded frames -> a Clip of `num_frames` frames; the size is the first frame's.

    Kept: a flip mirrors the whole square but not the mask, so with an odd border the picture is shifted by one patch
    under it. [preprocess_240x320]
    """
    height, width = frames_THW3.shape[1:3]
    small = letterbox_of(width, height, side=side, patch_px=patch_px)
    large = small.finer()
    missing = num_frames - len(frames_THW3)
    student = _padded(_flipped(letterboxed(frames_THW3, large), student_flip), missing)
    own = _padded(_flipped(letterboxed(frames_THW3, small), teacher_flip), missing) if teacher else None
    return Clip(student, own, (large.box,) * len(frames_THW3) + (empty_box(large.side),) * missing)


def pixels(pictures_T3PP: Tensor, real: Tensor) -> Tensor:
    """uint8 pictures -> normalised float32; padded frames (`real` (T,) False) are zero after normalisation."""
    return normalize_clip(pictures_T3PP) * real[:, None, None, None]


def masks(boxes: tuple[Box, ...], *, side: int, patch_px: int) -> Tensor:
    """(T, P, P) float32: 1 inside the picture; zero for padded frames."""
    mask = torch.zeros(len(boxes), side * patch_px, side * patch_px)
    for number, box in enumerate(boxes):
        if not box.empty:
            rows, cols = (
                slice(box.top * patch_px, box.bottom * patch_px),
                slice(box.left * patch_px, box.right * patch_px),
            )
            mask[number, rows, cols] = 1.0
    return mask


def _flipped(frames_TPP3: np.ndarray, flip: bool) -> np.ndarray:
    return frames_TPP3[:, :, ::-1] if flip else frames_TPP3


def _padded(frames_TPP3: np.ndarray, missing: int) -> Tensor:
    pictures = torch.from_numpy(np.ascontiguousarray(np.moveaxis(frames_TPP3, -1, 1)))
    if missing <= 0:
        return pictures
    return torch.cat([pictures, pictures.new_zeros(missing, *pictures.shape[1:])])
