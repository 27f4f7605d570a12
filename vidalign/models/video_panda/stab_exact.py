"""STAB in the official order: one video after the other, one frame after the other. The yardstick of the fast path.

Video-Panda (arXiv 2412.18609); specification video_panda, section 2.2. Shape letters as in stab.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vidalign.models.video_panda.boxes import Box
from vidalign.models.video_panda.stab import CHUNK_FRAMES, Stab


def exact_tokens(stab: Stab, mlp: nn.Module, frames: Tensor, boxes: Sequence[Box], *, clips: Sequence[int]) -> Tensor:
    """As `project_tokens`, without folding, grouping or sharing."""
    made, start = [], 0
    for frames_of_clip in clips:
        end = start + frames_of_clip
        made += _clip(stab, mlp, frames[start:end], boxes[start:end])
        start = end
    return torch.cat(made)


def _clip(stab: Stab, mlp: nn.Module, frames_T3PP: Tensor, boxes: Sequence[Box]) -> list[Tensor]:
    E_TCHW = stab.patch_embedding(frames_T3PP.to(stab.patch_embedding.weight.dtype))
    x_TCHW, context_KC = E_TCHW, None
    if len(boxes) > 1:
        V_KTHWC = rearrange(E_TCHW, "(k t) c h w -> k t h w c", t=CHUNK_FRAMES)
        if "lste" in stab.parts:
            V_KTHWC = V_KTHWC + stab.lmhra1.exact(V_KTHWC)
        V_KCTHW = rearrange(V_KTHWC, "k t h w c -> k c t h w")
        V_KCTHW = V_KCTHW + stab.dpe.exact(V_KCTHW)
        if "gstra" in stab.parts:
            keys = rearrange(V_KCTHW, "k c t h w -> k (t h w) c")
            context_KC = stab.dec.exact(stab.temporal_cls_token[0].repeat(len(keys), 1), keys)
        x_TCHW = rearrange(V_KCTHW, "k c t h w -> (k t) c h w") + E_TCHW
    made = []
    for index, box in enumerate(boxes):
        crop = x_TCHW[index : index + 1, :, box.top : box.bottom, box.left : box.right]
        context_C = None if context_KC is None else context_KC[index // CHUNK_FRAMES]
        made.append(mlp(_frame(stab, crop, context_C)))
    return made


def _frame(stab: Stab, crop_1CHW: Tensor, context_C: Tensor | None) -> Tensor:
    if "lsd" in stab.parts:
        Z_1hwC = stab.local_attention.exact(rearrange(crop_1CHW, "n c h w -> n h w c"))
    else:
        Z_1hwC = rearrange(F.avg_pool2d(crop_1CHW, 2), "n c h w -> n h w c")
    rows = Z_1hwC
    if "row_tokens" in stab.parts:
        ends = stab.split_embedding.to(Z_1hwC.dtype).expand(1, Z_1hwC.shape[1], 1, -1)
        rows = torch.cat([Z_1hwC, ends], dim=2)
    tokens = rearrange(rows, "1 h w c -> (h w) c")
    token_1C = None
    if "fsra" in stab.parts:
        token_1C = stab.global_attention.exact(stab.class_embedding[None], rearrange(Z_1hwC, "n h w c -> n (h w) c"))
    if context_C is not None:
        token_1C = stab.fuse(token_1C, context_C[None])
    elif token_1C is None and stab.has_context:
        token_1C = stab.class_embedding[None]
    return tokens if token_1C is None else torch.cat([token_1C, tokens])
