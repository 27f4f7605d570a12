"""Trains the small vision tower of the drawn world: a ViT that knows from one picture what its caption says.

It is an EVA ViT of small size and is stored in that model's own layout, for systems that bring their own frozen tower.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidalign.backbones.eva_vit import EvaViT
from vidalign.common.io import atomic_write, write_json
from vidalign.common.rng import draw_seed
from vidalign.data.shapes.draw import draw
from vidalign.data.shapes.world import SLOT_FRAMES, Clip
from vidalign.media.transforms import normalize_clip
from vidalign.runners.shapes.clip import FILLERS
from vidalign.runners.shapes.descent import Descent, cosine
from vidalign.runners.shapes.settings import OnStep

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SIZES = {"image_px": 64, "patch_px": 16, "dim": 96, "depth": 3, "num_heads": 4, "mlp_ratio": 2.0}
_ROWS, _PEAK = 96, 2e-3


def train_vision(
    folder: Path,
    clips: Sequence[Clip],
    unseen: Sequence[Clip],
    *,
    steps: int,
    seed: int,
    on_step: OnStep,
) -> dict[str, Any]:
    """Write `eva_vit.pth` and `sizes.json`; returns the share of caption words read rightly on unseen clips.

    The loss reads the words of the caption from the mean of all tokens by one linear layer that is thrown away.
    """
    import torch
    from torch import nn

    generator = torch.Generator().manual_seed(draw_seed(seed, 0, "", "shapes vision"))
    tower = EvaViT(**SIZES)
    start_vision(tower, generator)
    words = sorted({word for one in clips for text in one.captions for word in text.split()} - FILLERS)
    read = nn.Linear(SIZES["dim"], len(words))
    norm = nn.LayerNorm(SIZES["dim"])
    pixels, targets = _stills(clips), _present(clips, words)
    descent = Descent([*tower.parameters(), *read.parameters(), *norm.parameters()])
    for step in range(steps):
        which = torch.randint(len(pixels), (_ROWS,), generator=generator)
        said = read(norm(tower(normalize_clip(pixels[which])).mean(1)))
        loss = nn.functional.binary_cross_entropy_with_logits(said, targets[which], reduction="sum") / _ROWS
        on_step(step, descent.step(loss, lr=cosine(_PEAK, step, steps)))
    with torch.inference_mode():
        said = torch.cat([read(norm(tower(normalize_clip(part)).mean(1))) for part in _stills(unseen).split(256)]) > 0
    there = _present(unseen, words) > 0
    with atomic_write(folder / "eva_vit.pth", "wb") as file:
        torch.save(tower.state_dict(), file)
    write_json(folder / "sizes.json", SIZES)
    return {"words_read": float((said & there).sum() / (said | there).sum())}


def _stills(clips: Sequence[Clip]) -> Tensor:
    """uint8 (N, 3, 64, 64): the middle frame of every slot."""
    import torch

    return torch.cat([torch.from_numpy(draw(one)[1::SLOT_FRAMES]) for one in clips]).permute(0, 3, 1, 2)


def _present(clips: Sequence[Clip], words: Sequence[str]) -> Tensor:
    """float (N, words): which words a frame's caption has."""
    import torch

    captions = [text.split() for one in clips for text in one.captions]
    return torch.tensor([[float(word in text) for word in words] for text in captions])


def start_vision(tower: EvaViT, generator: torch.Generator) -> None:
    """Unit gain, as in tiny_clip.py: from the library's 0.02 a model this small hardly moves in its few steps."""
    import torch

    with torch.no_grad():
        for name, weight in tower.named_parameters():
            if "embed.proj.weight" in name:
                weight.normal_(0, 1 / math.sqrt(weight[0].numel()), generator=generator)
            elif name in ("pos_embed", "cls_token"):
                weight.normal_(0, 0.5, generator=generator)
            elif weight.ndim == 2:
                weight.normal_(0, 0.7 / math.sqrt(weight.shape[1]), generator=generator)
