"""STAB, the Spatio-Temporal Alignment Block: frames -> tokens of the language model, without a vision encoder.

Video-Panda (arXiv 2412.18609), section 3. Parameter names are the released ones below `model.video_tower`.

Shape letters: F frames, K chunks, T frames of a chunk, V videos, H W patch grid, h w = H/2 W/2, C width of the block,
D width of the language model, N tokens, P pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vidalign.models.video_panda.boxes import Box, token_count
from vidalign.models.video_panda.stab_parts import (
    DepthwiseConv3d,
    Extractor,
    FrameAttention,
    LocalMHRA,
    WindowAttention,
)

PARTS = ("lste", "gstra", "fsra", "row_tokens", "lsd")
CHUNK_FRAMES = 4


class Stab(nn.Module):
    """Normalised frames (F, 3, P, P) with their boxes -> tokens (N, C) in frame order, still to be projected.

    parts: what is in use, all of PARTS in the paper; without "lsd" 2x2 patches are averaged, without "gstra" or "fsra"
    the context token is the other one alone.
    """

    def __init__(
        self,
        *,
        dim: int = 1024,
        patch_px: int = 14,
        gstra_heads: int = 8,
        heads: int = 8,
        parts: Sequence[str] = PARTS,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        assert set(parts) <= set(PARTS), f"{set(parts) - set(PARTS)} are no parts of STAB"
        self.parts, self.patch_px = frozenset(parts), patch_px
        self.class_embedding = nn.Parameter(torch.randn(dim))
        self.split_embedding = nn.Parameter(torch.randn(dim))
        self.temporal_cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.balance = nn.Parameter(torch.zeros(dim))
        self.patch_embedding = nn.Conv2d(3, dim, patch_px, stride=patch_px, bias=False)
        self.lmhra1 = LocalMHRA(dim)
        # Kept: never called, but in every released file [model_train_forward]. Changed: it does not train; the official
        # code gives it to the optimizer, where it never gets a gradient.
        self.lmhra2 = LocalMHRA(dim).requires_grad_(False)
        self.dpe = DepthwiseConv3d(dim)
        self.dec = Extractor(dim, heads=gstra_heads, dropout=dropout)
        self.proj = nn.Sequential(nn.LayerNorm(dim), nn.Dropout(dropout), nn.Linear(dim, dim))
        self.local_attention = WindowAttention(dim, heads=heads)
        self.global_attention = FrameAttention(dim, heads=heads)
        reset_new_parameters(self)

    @property
    def has_context(self) -> bool:
        """Whether a frame of a video has a context token."""
        return bool(self.parts & {"gstra", "fsra"})

    def count(self, box: Box) -> int:
        """Tokens of one frame."""
        return token_count(box, context=self.has_context, row_tokens="row_tokens" in self.parts)

    def forward(self, frames_F3PP: Tensor, boxes: Sequence[Box], *, clips: Sequence[int]) -> tuple[Tensor, Tensor]:
        """clips: frames per clip, in order: 1 for an image, a multiple of 4 for a video.

        Returns (distinct tokens (N', C), index (N,) into them): the row token is there once.
        """
        E_FHWC = self.embed(frames_F3PP)
        video_F, context_KC = self.temporal(E_FHWC, clips)
        tokens, contexts, order = self._frames(video_F, boxes, context_KC, clips)
        rows = [tokens] + ([contexts] if contexts is not None else []) + [self.split_embedding[None].to(tokens.dtype)]
        return torch.cat(rows), order

    def embed(self, frames_F3PP: Tensor) -> Tensor:
        """Patches (F, H, W, C), as one matrix product."""
        patches = rearrange(frames_F3PP, "f c (h p) (w q) -> f h w (c p q)", p=self.patch_px, q=self.patch_px)
        weight = self.patch_embedding.weight
        return F.linear(patches.to(weight.dtype), weight.flatten(1))

    def temporal(self, E_FHWC: Tensor, clips: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """LSTE, DPE and GSTRA over the chunks of all videos: (patches (F, H, W, C), context per chunk (K, C)).

        Images pass unchanged. Kept: the context is one per chunk of 4 frames, not per video. [stab_full_square]
        """
        chunks = [frames // CHUNK_FRAMES for frames in clips if frames > 1]
        if not chunks:
            return E_FHWC, None
        is_video = torch.tensor([frames > 1 for frames in clips for _ in range(frames)])
        all_videos = bool(is_video.all())
        places = None if all_videos else is_video.nonzero().flatten().to(E_FHWC.device)
        raw = E_FHWC if all_videos else E_FHWC[places]
        V_KTHWC = rearrange(raw, "(k t) h w c -> k t h w c", t=CHUNK_FRAMES)
        if "lste" in self.parts:
            V_KTHWC = V_KTHWC + self.lmhra1(V_KTHWC, chunks=chunks)
        V_KTHWC = V_KTHWC + self.dpe(V_KTHWC)
        context_KC = None
        if "gstra" in self.parts:
            query_KC = self.temporal_cls_token[0].expand(len(V_KTHWC), -1)
            context_KC = self.dec(query_KC, rearrange(V_KTHWC, "k t h w c -> k (t h w) c"))
        mixed = rearrange(V_KTHWC, "k t h w c -> (k t) h w c") + raw
        return (mixed if all_videos else E_FHWC.index_copy(0, places, mixed.to(E_FHWC.dtype))), context_KC

    def _frames(
        self, x_FHWC: Tensor, boxes: Sequence[Box], context_KC: Tensor | None, clips: Sequence[int]
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """LSD and FSRA, for all frames with the same box at once.

        Returns patch tokens, context tokens (F, C) in frame order, and the order in which the rows of [patch tokens,
        context tokens, row token] make up the frames.
        """
        groups: dict[Box, list[int]] = {}
        for index, box in enumerate(boxes):
            groups.setdefault(box, []).append(index)
        patches, pooled, starts, total = [], [], {}, 0
        for box, members in groups.items():
            crop = x_FHWC[:, box.top : box.bottom, box.left : box.right]
            crop = crop if len(members) == len(boxes) else crop[torch.tensor(members, device=x_FHWC.device)]
            Z_nhwC = self.local_attention(crop) if "lsd" in self.parts else _averaged(crop)
            if "fsra" in self.parts:
                pooled.append(
                    self.global_attention(self.class_embedding[None], rearrange(Z_nhwC, "n h w c -> n (h w) c"))
                )
            height, width = box.grid
            starts |= {member: total + number * height * width for number, member in enumerate(members)}
            total += len(members) * height * width
            patches.append(Z_nhwC.flatten(0, 2))
        frame_FC = None
        if pooled:
            place = torch.empty(len(boxes), dtype=torch.long)
            place[torch.tensor([member for members in groups.values() for member in members])] = torch.arange(
                len(boxes)
            )
            frame_FC = torch.cat(pooled)[place.to(x_FHWC.device)]
        contexts = self._contexts(frame_FC, context_KC, clips)
        order = self._order(boxes, starts, total, len(boxes) if contexts is not None else 0)
        return torch.cat(patches), contexts, order.to(x_FHWC.device)

    def _contexts(self, frame_FC: Tensor | None, context_KC: Tensor | None, clips: Sequence[int]) -> Tensor | None:
        """Learned fusion of a frame's own token and its chunk's; an image has only its own.

        Kept: `balance` weighs the frame's token, 1 - balance the chunk's. [stab_full_square]
        """
        if frame_FC is None and self.has_context:
            frame_FC = self.class_embedding.expand(sum(clips), -1) if min(clips) == 1 else None
        if context_KC is None:
            return frame_FC
        chunk_FC = context_KC.repeat_interleave(CHUNK_FRAMES, dim=0)
        if all(frames > 1 for frames in clips):
            return self.fuse(frame_FC, chunk_FC)
        places = torch.tensor([frames > 1 for frames in clips for _ in range(frames)]).nonzero().flatten()
        places = places.to(context_KC.device)
        own_FC = frame_FC[places] if "fsra" in self.parts else None
        return frame_FC.index_copy(0, places, self.fuse(own_FC, chunk_FC).to(frame_FC.dtype))

    def fuse(self, frame_FC: Tensor | None, chunk_FC: Tensor) -> Tensor:
        """Proj((1 - a) chunk + a frame), a = sigmoid(balance) per channel."""
        if frame_FC is None:
            return self.proj(chunk_FC)
        share_C = torch.sigmoid(self.balance)
        return self.proj((1 - share_C) * chunk_FC + share_C * frame_FC)

    def _order(self, boxes: Sequence[Box], starts: dict[int, int], total: int, contexts: int) -> Tensor:
        """Rows of [patch tokens, context tokens, row token] in the order of the finished frames."""
        row_token = total + contexts
        parts = []
        for index, box in enumerate(boxes):
            height, width = box.grid
            if contexts:
                parts.append(torch.tensor([total + index]))
            grid = torch.arange(starts[index], starts[index] + height * width).view(height, width)
            if "row_tokens" in self.parts:
                grid = torch.cat([grid, torch.full((height, 1), row_token)], dim=1)
            parts.append(grid.flatten())
        return torch.cat(parts)


def _averaged(x_NHWC: Tensor) -> Tensor:
    return rearrange(x_NHWC, "n (h p) (w q) c -> n h w (p q) c", p=2, q=2).mean(3)


def projector(dim: int, lm_dim: int) -> nn.Sequential:
    """`model.video_projector`: (.., C) -> (.., D)."""
    return nn.Sequential(nn.Linear(dim, lm_dim), nn.GELU(), nn.Linear(lm_dim, lm_dim))


def project_tokens(stab: Stab, mlp: nn.Module, frames: Tensor, boxes: Sequence[Box], *, clips: Sequence[int]) -> Tensor:
    """STAB and the projector: (N, D), tokens of all frames one after the other; every distinct token once."""
    distinct, order = stab(frames, boxes, clips=clips)
    return mlp(distinct)[order]


def frame_offsets(stab: Stab, boxes: Sequence[Box]) -> list[int]:
    """Where each frame's tokens begin, and where the last ends."""
    return [0, *accumulate(stab.count(box) for box in boxes)]


@torch.no_grad()
def reset_new_parameters(stab: Stab) -> None:
    """Start values of what no EVE file holds.

    Kept: the constructor's zeros in GSTRA do not survive the official loading, which draws every missing Linear anew
    from N(0, 0.02); the convolutions keep theirs. [eve_checkpoint_mapping]
    """
    for linear in (stab.dec.attn.out_proj, stab.dec.mlp.c_fc, stab.dec.mlp.c_proj, stab.proj[2]):
        nn.init.normal_(linear.weight, std=0.02)
        nn.init.zeros_(linear.bias)
    nn.init.xavier_uniform_(stab.dec.attn.in_proj_weight)
    nn.init.zeros_(stab.dec.attn.in_proj_bias)
    nn.init.zeros_(stab.dpe.bias)
