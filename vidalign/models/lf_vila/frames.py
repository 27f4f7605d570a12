"""From decoded frames to LF-VILA's input, and which frames show the answer (specification lf_vila, section 4).

Legend: T frames, H height, W width, hw the model's (height, width).
"""

from __future__ import annotations

import math
import random

import torch
import torch.nn.functional as F
from torch import Tensor

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
EVAL_RESIZE, EVAL_CROP = (240, 428), (216, 385)
SCALE, RATIO = (0.8, 1.0), (3 / 4, 4 / 3)

Box = tuple[int, int, int, int]  # top, left, height, width


def eval_view(frames_THWC: Tensor, *, hw: tuple[int, int]) -> Tensor:
    """uint8 (T, H, W, 3) -> float (3, T, h, w): a fixed resize that changes the aspect, its centre, normalised.

    Kept: no antialiasing, as torchvision 0.11 resized tensors. [image_transforms]
    """
    resized = _resize(_levels(frames_THWC), EVAL_RESIZE)
    top, left = (round((full - part) / 2) for full, part in zip(EVAL_RESIZE, EVAL_CROP, strict=True))
    crop = resized[..., top : top + EVAL_CROP[0], left : left + EVAL_CROP[1]]
    return _normalised(_resize(crop, hw))


def train_view(frames_THWC: Tensor, *, hw: tuple[int, int], box: Box, flip: bool) -> Tensor:
    """uint8 (T, H, W, 3) -> float (3, T, h, w): one box of all frames, resized, perhaps mirrored, normalised."""
    top, left, height, width = box
    part = frames_THWC[:, top : top + height, left : left + width]
    resized = _resize(_levels(part), hw)
    return _normalised(resized.flip(-1) if flip else resized)


def draw_box(draw: random.Random, size: tuple[int, int]) -> Box:
    """torchvision's RandomResizedCrop: a share of the area, a random aspect; a centred box after ten misses."""
    height, width = size
    for _ in range(10):
        target = height * width * draw.uniform(*SCALE)
        aspect = math.exp(draw.uniform(math.log(RATIO[0]), math.log(RATIO[1])))
        w, h = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
        if 0 < w <= width and 0 < h <= height:
            return draw.randint(0, height - h), draw.randint(0, width - w), h, w
    aspect = min(max(width / height, RATIO[0]), RATIO[1])
    w, h = min(width, round(height * aspect)), min(height, round(width / aspect))
    return (height - h) // 2, (width - w) // 2, h, w


def span_labels(
    span: tuple[float, float] | None, length: float, frames: int, *, fps: float = 1.0
) -> tuple[Tensor, Tensor]:
    """(labels (T,) 0 or 1, weights (T,) float64) of the frames inside a span in seconds; None: the whole video.

    length: of the video, in frames at `fps` (at 1.0 in seconds). Weights of both sides add up to half the frames each.
    """
    seconds = length / fps
    start, end = (0.0, 1.0) if span is None else (min(max(one / seconds, 0.0), 1.0) for one in span)
    first = min(max(round(start * frames), 0), frames - 1)
    last = min(max(round(end * frames), first + 1), frames)
    labels = torch.zeros(frames, dtype=torch.long)
    labels[first:last] = 1
    inside, outside = last - first, frames - (last - first)
    weights = torch.full((frames,), frames / 2 / max(1, outside), dtype=torch.float64)
    weights[first:last] = frames / 2 / inside
    return labels, weights


def _levels(frames_THWC: Tensor) -> Tensor:
    return frames_THWC.movedim(-1, 1).float()


def _resize(frames_TCHW: Tensor, hw: tuple[int, int]) -> Tensor:
    return F.interpolate(frames_TCHW, size=hw, mode="bilinear", align_corners=False, antialias=False)


def _normalised(levels_TCHW: Tensor) -> Tensor:
    """(T, 3, h, w) in 0..255 -> (3, T, h, w) normalised: divided by 255 here, when they are few."""
    mean, std = (255 * levels_TCHW.new_tensor(values).view(3, 1, 1, 1) for values in (MEAN, STD))
    return levels_TCHW.movedim(0, 1).contiguous().sub_(mean).div_(std)
