"""Pieces that the LF-VILA models share: pooling of frames, features of clips, places of video tokens, both towers.

Specification lf_vila, sections 2.2 to 2.4.
Legend: B samples, D frames, H, W patches of a frame, P pooled patches, C width, M clips or sentences, L tokens of a
sentence, T tokens of a paragraph with its pseudo-CLS.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vidalign.models.lf_vila.text_encoder import SentenceEmbedding, TextEncoder, with_pseudo_cls

POOL = (2, 3)  # of every frame's last feature map, stride 1


def pool_patches(features_BDHWC: Tensor) -> Tensor:
    """(B, D, P, C): the largest value in every 2 x 3 window of a frame, row by row."""
    maps = rearrange(features_BDHWC, "b d h w c -> (b d) c h w")
    pooled = F.max_pool2d(maps, kernel_size=POOL, stride=1)
    return rearrange(pooled, "(b d) c h w -> b d (h w) c", b=len(features_BDHWC))


def clip_means(pooled_BDPC: Tensor, clips: int) -> Tensor:
    """(B, M, C): the mean over each clip's frames and patches; clips have equally many frames."""
    return rearrange(pooled_BDPC, "b (m d) p c -> b m (d p) c", m=clips).mean(dim=2)


class VideoTokenPosition(nn.Module):
    """(B, D, P, C) -> (B, D * P, C): learned places of patches and frames, then a norm."""

    def __init__(self, dim: int, *, frames: int, patches: int) -> None:
        super().__init__()
        self.s_pos_embed = nn.Parameter(0.02 * torch.randn(1, 1, patches, dim))
        self.t_pos_embed = nn.Parameter(0.02 * torch.randn(1, frames, 1, dim))
        self.norm = nn.LayerNorm(dim)

    def forward(self, pooled_BDPC: Tensor) -> Tensor:
        """Frame by frame."""
        return self.norm(pooled_BDPC + self.s_pos_embed + self.t_pos_embed).flatten(1, 2)


@dataclass(frozen=True)
class EncodedText:
    """sentence_BMC: token 0 of every sentence before the paragraph level. tokens_BTC: the paragraph, pseudo-CLS first.
    mask_BT: 1 where a token is real."""

    sentence_BMC: Tensor
    tokens_BTC: Tensor
    mask_BT: Tensor


def encode_text(encoder: TextEncoder, embedding: SentenceEmbedding, ids_BML: Tensor, mask_BML: Tensor) -> EncodedText:
    """Sentence level, sentence embedding, paragraph level."""
    sentences_BMLC = encoder.sentences(ids_BML, mask_BML)
    x_BTC, mask_BT = with_pseudo_cls(embedding(sentences_BMLC), mask_BML)
    return EncodedText(sentences_BMLC[:, :, 0], encoder.paragraph(x_BTC, mask_BT), mask_BT)


def join_modalities(text: EncodedText, visual_BNC: Tensor) -> tuple[Tensor, Tensor]:
    """Text tokens, then visual tokens; with the mask of both."""
    visual_mask = text.mask_BT.new_ones(visual_BNC.shape[:2])
    return torch.cat([text.tokens_BTC, visual_BNC], dim=1), torch.cat([text.mask_BT, visual_mask], dim=1)


def unit(x: Tensor) -> Tensor:
    """Length 1 along the last axis, in float32."""
    return F.normalize(x.float(), dim=-1)
