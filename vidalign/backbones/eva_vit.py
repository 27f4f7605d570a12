"""EVA ViT-g as InstructBLIP and BLIP-2 use it: all tokens, no final norm (EVA, arXiv 2211.07636; spec vila, 2.1).

Parameter names are those of `eva_vit_g.pth`, of which the last block, the final norm and the head are not used.
Shape letters: R pictures, N tokens (class token first), C width, H heads, D width of a head.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vidalign.checkpoint.fit import require_fit

NORM_EPS = 1e-6
MLP_RATIO = 4.3637
UNUSED = ("norm.", "head.", "fc_norm.", "mask_token", "rel_pos_bias.")


class EvaAttention(nn.Module):
    """(R, N, C) -> (R, N, C). The key bias is identically zero, so only `q_bias` and `v_bias` exist."""

    def __init__(self, dim: int, num_heads: int, *, exact: bool = False) -> None:
        super().__init__()
        self.num_heads, self.exact = num_heads, exact
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(dim))
        self.v_bias = nn.Parameter(torch.zeros(dim))
        self.proj = nn.Linear(dim, dim)

    def forward(self, x_RNC: Tensor) -> Tensor:
        """(R, N, C) -> (R, N, C)."""
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias]).to(self.qkv.weight.dtype)
        qkv = F.linear(x_RNC, self.qkv.weight, bias)
        q, k, v = rearrange(qkv, "r n (three h d) -> three r h n d", three=3, h=self.num_heads)
        if self.exact:
            weights = (q * q.shape[-1] ** -0.5) @ k.mT
            out = weights.softmax(dim=-1) @ v
        else:
            out = F.scaled_dot_product_attention(q, k, v)
        return self.proj(rearrange(out, "r h n d -> r n (h d)"))


class EvaMlp(nn.Module):
    """(..., C) -> (..., C), exact GELU."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        return self.fc2(F.gelu(self.fc1(x)))


class EvaBlock(nn.Module):
    """Pre-norm block without layer scale."""

    def __init__(self, dim: int, num_heads: int, hidden: int, *, exact: bool = False) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = EvaAttention(dim, num_heads, exact=exact)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = EvaMlp(dim, hidden)

    def forward(self, x_RNC: Tensor) -> Tensor:
        """(R, N, C) -> (R, N, C)."""
        # The norms compute in their own type (float32), the matrices in theirs; the residual stream stays float32.
        matrix = self.mlp.fc1.weight.dtype
        x_RNC = x_RNC + self.attn(self.norm1(x_RNC).to(matrix))
        return x_RNC + self.mlp(self.norm2(x_RNC).to(matrix))


class PatchEmbed(nn.Module):
    """(R, 3, px, px) -> (R, N - 1, C)."""

    def __init__(self, dim: int, patch_px: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, kernel_size=patch_px, stride=patch_px)

    def forward(self, x: Tensor) -> Tensor:
        """(R, 3, px, px) -> (R, N - 1, C)."""
        return rearrange(self.proj(x.to(self.proj.weight.dtype)), "r c h w -> r (h w) c")


class EvaViT(nn.Module):
    """Normalised pictures (R, 3, px, px) -> tokens (R, N, C), class token first. Frozen, always in evaluation mode."""

    def __init__(
        self,
        *,
        image_px: int,
        patch_px: int,
        dim: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float = MLP_RATIO,
        exact: bool = False,
    ) -> None:
        super().__init__()
        grid = image_px // patch_px
        self.patch_embed = PatchEmbed(dim, patch_px)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + grid * grid, dim))
        self.blocks = nn.ModuleList(EvaBlock(dim, num_heads, int(dim * mlp_ratio), exact=exact) for _ in range(depth))
        self._start()
        super().train(False)

    @property
    def dim(self) -> int:
        """C."""
        return self.cls_token.shape[-1]

    @property
    def num_tokens(self) -> int:
        """N."""
        return self.pos_embed.shape[1]

    def forward(self, x: Tensor) -> Tensor:
        """(R, 3, px, px) -> (R, N, C)."""
        patches = self.patch_embed(x).to(self.pos_embed.dtype)
        x_RNC = torch.cat([self.cls_token.expand(len(x), -1, -1), patches], dim=1) + self.pos_embed
        for block in self.blocks:
            x_RNC = block(x_RNC)
        return x_RNC

    def train(self, mode: bool = True) -> EvaViT:
        """Kept: the official encoder never leaves evaluation mode."""
        return self

    def matrices_to(self, dtype: torch.dtype) -> EvaViT:
        """Store the weights of convolution and linear layers in `dtype`; tables, vectors and norms stay as they are.

        Kept: that is what the official `precision: fp16` converts.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.to(dtype)
        return self

    @torch.no_grad()
    def load_official(self, state: Mapping[str, Tensor], *, where: str) -> None:
        """Load `eva_vit_g.pth`: resizes the position table, leaves out what is not used; complete or CheckpointError.

        Also reads the same tensors from a larger file whose encoder has exactly these blocks.
        """
        own = {name: value for name, value in state.items() if not name.startswith(UNUSED)}
        own = {name: value for name, value in own.items() if not self._is_later_block(name)}
        if "pos_embed" in own:
            own["pos_embed"] = resize_positions(own["pos_embed"], self.num_tokens)
        wanted = {name: tuple(value.shape) for name, value in self.state_dict().items()}
        require_fit(wanted, own, where=where)
        self.load_state_dict(own)

    def _is_later_block(self, name: str) -> bool:
        parts = name.split(".")
        return parts[0] == "blocks" and parts[1].isdigit() and int(parts[1]) >= len(self.blocks)

    def _start(self) -> None:
        """Start values for use without weights: truncated normal 0.02, outputs of block i divided by sqrt(2 (i+1))."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        with torch.no_grad():
            for number, block in enumerate(self.blocks, start=1):
                block.attn.proj.weight.div_((2.0 * number) ** 0.5)
                block.mlp.fc2.weight.div_((2.0 * number) ** 0.5)


def resize_positions(table_1NC: Tensor, num_tokens: int) -> Tensor:
    """A position table for another square grid: bicubic, the class entry kept. [eva_pos_embed_interpolation]"""
    old = round((table_1NC.shape[1] - 1) ** 0.5)
    new = round((num_tokens - 1) ** 0.5)
    if old == new:
        return table_1NC
    grid = rearrange(table_1NC[:, 1:].float(), "1 (h w) c -> 1 c h w", h=old)
    grid = F.interpolate(grid, size=(new, new), mode="bicubic", align_corners=False)
    return torch.cat([table_1NC[:, :1], rearrange(grid, "1 c h w -> 1 (h w) c").to(table_1NC.dtype)], dim=1)
