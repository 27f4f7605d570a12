"""A start for a visual projection, fitted on captions alone: from CLIP's text vectors to textual frames.

With it a model reads pictures before any training, as far as CLIP's pictures lie where its texts do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vidalign.backbones.llm import load_hf
from vidalign.backbones.tiny_clip import TinyCLIP
from vidalign.common.io import atomic_write
from vidalign.data.shapes.world import CORE, NUM_SLOTS, Clip
from vidalign.runners.shapes.lm import frame_tokens
from vidalign.runners.shapes.text import TextMaker

if TYPE_CHECKING:
    from torch import Tensor, nn


def save_visual_start(folder: Path, maker: TextMaker, clips: Sequence[Clip]) -> float:
    """Write `visual_start.pth` beside the bases in `folder`; returns the map's relative error on its captions."""
    import torch

    lm = load_hf(folder / "llm", dtype=torch.float32)
    clip = TinyCLIP.load(folder / "clip")
    captions, tokens = _distinct_frames(lm, maker, [one for one in clips if one.kind in CORE][:1500])
    with torch.inference_mode():
        text_NE = clip.texts([maker.tokenizer.encode(text) for text in captions])
    ridge = 1e-4 * text_NE.square().sum() / len(text_NE) * torch.eye(text_NE.shape[1])
    weight_ED = torch.linalg.solve(text_NE.T @ text_NE + ridge, text_NE.T @ tokens)
    state = {
        "visual_proj.weight": weight_ED.T.contiguous(),
        "temporal_emb.weight": torch.zeros(NUM_SLOTS, tokens.shape[1]),
    }
    with atomic_write(folder / "visual_start.pth", "wb") as file:
        torch.save(state, file)
    return float((text_NE @ weight_ED - tokens).norm() / tokens.norm())


def _distinct_frames(lm: nn.Module, maker: TextMaker, clips: Sequence[Clip]) -> tuple[list[str], Tensor]:
    import torch

    with torch.no_grad():
        tokens = frame_tokens(lm, maker.frames(clips)).flatten(0, 1)
    row_of: dict[str, int] = {}
    for row, caption in enumerate(text for clip in clips for text in clip.captions):
        row_of.setdefault(caption, row)
    return list(row_of), tokens[list(row_of.values())]
