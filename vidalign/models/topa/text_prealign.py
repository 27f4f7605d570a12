"""Text-only pre-alignment (TOPA, arXiv 2405.13911): noise on textual videos, and what a micro-batch learns.

How captions become the features of frames: media/text_frames.py.

Shape letters: F frames, E width of a feature.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def add_noise(
    x_FE: Tensor,
    *,
    variance: float,
    generator: torch.Generator | None = None,
    draws: tuple[Tensor, Tensor] | None = None,
    offset: Tensor | None = None,
    normalize: bool = True,
) -> Tensor:
    """Gaussian noise that makes text features stand for image features too; unit rows again afterwards.

    With variance 0 (all released recipes) nothing changes. Otherwise a Gaussian of that variance and a second one of
    length sqrt(variance) are added, and `offset`, a shift between the modalities. draws: the two Gaussians themselves.
    [noise_and_fusion]
    """
    if variance == 0.0:
        return x_FE
    sigma = math.sqrt(variance)
    if draws is None:
        draws = tuple(torch.randn(x_FE.shape, generator=generator, dtype=x_FE.dtype) for _ in range(2))
    first, second = draws
    x_FE = F.normalize(x_FE, dim=-1) if normalize else x_FE
    x_FE = x_FE + sigma * first + sigma * F.normalize(second, dim=-1)
    if offset is not None:
        x_FE = x_FE + offset
    return F.normalize(x_FE, dim=-1)


def single_frame(frames_FE: Tensor) -> Tensor:
    """The ablation that keeps every second frame and shows it twice."""
    return frames_FE[::2].repeat_interleave(2, dim=0)[: len(frames_FE)]


def draw_mode(uniform: float, *, caption_share: float) -> str:
    """Which loss a micro-batch trains, from a draw in [0, 1): "caption" above 1 - caption_share, else "vqa".

    [train_loop]
    """
    captions = caption_share >= 1.0 or uniform > 1.0 - caption_share
    return "caption" if captions else "vqa"
