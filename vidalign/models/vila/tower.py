"""The tower that ViLA and SeViLA share: frames -> EVA ViT -> ln_vision -> Q-Former -> visual tokens -> FLAN-T5.

Specification vila, sections 2.1 to 2.5.
Shape letters: B samples, T frames, N tokens of a frame, C their width, Q queries, L text tokens, D width of T5.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from vidalign.backbones import flan_t5
from vidalign.backbones.eva_vit import EvaViT
from vidalign.backbones.qformer import QFormer
from vidalign.common.io import content_key
from vidalign.media.spec import StoredFrames
from vidalign.media.transforms import normalize_clip
from vidalign.models.vila.sizes import Dims


def build_vit(dims: Dims, *, dtype: torch.dtype = torch.float32, exact: bool = False) -> EvaViT:
    """The frozen picture encoder."""
    vit = EvaViT(
        image_px=dims.image_px,
        patch_px=dims.patch_px,
        dim=dims.vision_dim,
        depth=dims.vision_depth,
        num_heads=dims.vision_heads,
        mlp_ratio=dims.vision_mlp_ratio,
        exact=exact,
    )
    vit.requires_grad_(False)
    return vit.matrices_to(dtype)


def build_norm(dims: Dims) -> nn.LayerNorm:
    """ln_vision. Kept: eps 1e-5 where the ViT has 1e-6; it trains, so nothing behind it can be stored. [eva_vit]"""
    return nn.LayerNorm(dims.vision_dim, eps=1e-5)


def build_qformer(dims: Dims, *, text: bool, dropout: float = 0.1, exact: bool = False) -> QFormer:
    """A Q-Former over the ViT's tokens."""
    return QFormer(
        dim=dims.qformer_dim,
        num_heads=dims.qformer_heads,
        depth=dims.qformer_depth,
        hidden=dims.qformer_hidden,
        image_dim=dims.vision_dim,
        vocab_size=dims.qformer_vocab if text else None,
        max_positions=dims.qformer_positions,
        dropout=dropout,
        exact=exact,
    )


def start_queries(dims: Dims) -> nn.Parameter:
    """(1, Q, width), normal 0.02."""
    return nn.Parameter(torch.empty(1, dims.num_queries, dims.qformer_dim).normal_(std=0.02))


def build_t5(dims: Dims, *, dtype: torch.dtype = torch.float32, dropout: float = 0.1, exact: bool = False) -> nn.Module:
    """FLAN-T5 with random weights; half precision would give garbage, so float16 becomes bfloat16."""
    dtype = torch.bfloat16 if dtype == torch.float16 else dtype
    return flan_t5.build_flan_t5(flan_t5.flan_t5_config(dims.t5, dropout=dropout, exact=exact), dtype=dtype)


@torch.no_grad()
def look(vit: EvaViT, batch: Mapping[str, Tensor]) -> Tensor:
    """The ViT's tokens (B, T, N, C) of a batch: of "video" (B, T, 3, px, px), bytes or normalised numbers, or what the
    store holds as "features" (B, T, N * C)."""
    if "features" in batch:
        return batch["features"].float().reshape(*batch["features"].shape[:2], vit.num_tokens, vit.dim)
    video = batch["video"]
    frames = rearrange(video, "b t c h w -> (b t) c h w")
    frames = normalize_clip(frames) if frames.dtype == torch.uint8 else frames
    return rearrange(vit(frames), "(b t) n c -> b t n c", b=len(video))


def stored_frames(vit: EvaViT, config: Any, *, train: bool) -> StoredFrames | None:
    """What the store has to hold for `config.store`, None where frames are decoded."""
    if config.store.use == "never" or (train and config.store.use == "evaluation"):
        return None
    where = vit.pos_embed.device

    def encode(frames_T3PP: Tensor) -> Tensor:
        return look(vit, {"video": frames_T3PP[None].to(where)})[0].flatten(1).cpu()

    return StoredFrames(
        name="eva_vit",
        key=content_key(*(content_key(value.float().cpu().numpy().tobytes()) for value in vit.state_dict().values())),
        frames=config.store.frames or config.num_frames,
        dim=vit.num_tokens * vit.dim,
        encode=encode,
        max_gib=config.store.max_gib,
    )


def frame_tokens(
    qformer: QFormer,
    queries_1QD: Tensor,
    proj: nn.Linear,
    x_BTNC: Tensor,
    *,
    ids_BL: Tensor | None = None,
    mask_BL: Tensor | None = None,
    exact: bool = False,
) -> Tensor:
    """Visual tokens (B, T, Q, D) of every frame; each frame is read with the same text.

    The frames are folded into the batch; `exact` takes them one after the other, as the official code does.
    """
    batch, frames = x_BTNC.shape[:2]
    if exact:
        per_frame = [
            frame_tokens(qformer, queries_1QD, proj, x_BTNC[:, t : t + 1], ids_BL=ids_BL, mask_BL=mask_BL)
            for t in range(frames)
        ]
        return torch.cat(per_frame, dim=1)
    hidden = qformer(
        # Without text all rows begin alike.
        queries_1QD if ids_BL is None else queries_1QD.expand(batch, -1, -1),
        rearrange(x_BTNC, "b t n c -> (b t) n c"),
        ids_RL=ids_BL,
        text_mask_RL=mask_BL,
        queries_only=True,
    )
    return rearrange(proj(hidden), "(b t) q d -> b t q d", t=frames)


def join_tokens(tokens_BTQD: Tensor) -> Tensor:
    """Frames one after the other: (B, T * Q, D)."""
    return rearrange(tokens_BTQD, "b t q d -> b (t q) d")


def t5_input(t5: nn.Module, parts: list[Tensor | tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """(embeddings, mask) of parts in their order: visual tokens (B, n, D), or text as (ids (B, L), mask (B, L))."""
    dtype = flan_t5.unwrapped(t5).shared.weight.dtype
    embeds, masks = [], []
    for part in parts:
        if isinstance(part, tuple):
            ids, mask = part
            embeds.append(flan_t5.embed(t5, ids))
            masks.append(mask)
        else:
            embeds.append(part.to(dtype))
            masks.append(torch.ones(part.shape[:2], dtype=torch.long, device=part.device))
    rows = max(len(one) for one in embeds)
    embeds = [one.expand(rows, -1, -1) for one in embeds]
    masks = [one.expand(rows, -1) for one in masks]
    return torch.cat(embeds, dim=1), torch.cat(masks, dim=1)
