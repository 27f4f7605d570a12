"""Windows over time, height and width: geometry, relative position bias, attention inside a window.

Video Swin (arXiv 2106.13230) as used by LF-VILA (arXiv 2210.06031); specification lf_vila, section 2.1.
Legend: B samples, W windows of all samples, N tokens of a window, C width, H heads, K width of a head,
L tokens of a sample, P tokens of a sample with padding, nW windows of one sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Size3 = tuple[int, int, int]
MASKED = -100.0  # Kept: not -inf, so pairs across a cut keep a little weight. [window_attention]


def effective_window(size: Size3, window: Size3, shift: Size3) -> tuple[Size3, Size3]:
    """(window, shift) for a clip of `size`: on an axis no longer than its window it is cut and nothing moves."""
    fits = [length <= side for length, side in zip(size, window, strict=True)]
    cut = tuple(length if fit else side for length, side, fit in zip(size, window, fits, strict=True))
    moved = tuple(0 if fit else step for step, fit in zip(shift, fits, strict=True))
    return cut, moved


def padded_size(size: Size3, window: Size3) -> Size3:
    """`size` rounded up to multiples of the window."""
    return tuple(-(-length // side) * side for length, side in zip(size, window, strict=True))


def relative_position_index(window: Size3) -> Tensor:
    """(N, N) int64: the row of the bias table for each pair of tokens; time is the most significant digit."""
    axes = torch.meshgrid(*(torch.arange(side) for side in window), indexing="ij")
    coordinates = torch.stack([axis.flatten() for axis in axes], dim=-1)
    offset = coordinates[:, None] - coordinates[None] + torch.tensor(window) - 1
    t, h, w = offset.unbind(-1)
    return (t * (2 * window[1] - 1) + h) * (2 * window[2] - 1) + w


def table_rows(window: Size3) -> int:
    """Rows of the bias table."""
    return (2 * window[0] - 1) * (2 * window[1] - 1) * (2 * window[2] - 1)


def partition(x_BDHWC: Tensor, window: Size3) -> Tensor:
    """(B, D, H, W, C) -> (windows, N, C); sizes must be multiples of the window."""
    t, h, w = window
    return rearrange(x_BDHWC, "b (d t) (i h) (j w) c -> (b d i j) (t h w) c", t=t, h=h, w=w)


def unpartition(x_WNC: Tensor, window: Size3, size: Size3) -> Tensor:
    """The inverse of `partition` for a clip of `size`."""
    (t, h, w), (d, i, j) = window, (length // side for length, side in zip(size, window, strict=True))
    return rearrange(x_WNC, "(b d i j) (t h w) c -> b (d t) (i h) (j w) c", d=d, i=i, j=j, t=t, h=h, w=w)


def shift_mask(size: Size3, window: Size3, shift: Size3) -> Tensor:
    """(nW, N, N): MASKED between tokens that only the roll by `shift` has brought together, else 0.

    Each axis is cut at -window and -shift; tokens of different pieces do not belong together.
    """
    region = torch.zeros(1, *size, 1)
    number = 0
    cuts = [
        (slice(-w), slice(-w, -s), slice(-s, None)) if s else (slice(None),) for w, s in zip(window, shift, strict=True)
    ]
    for d in cuts[0]:
        for h in cuts[1]:
            for w in cuts[2]:
                region[:, d, h, w] = number
                number += 1
    region_WN = partition(region, window)[..., 0]
    return torch.where(region_WN[:, None] == region_WN[:, :, None], 0.0, MASKED)


@dataclass(frozen=True)
class WindowPlan:
    """Everything about the windows of one block that depends on sizes only.

    order_P: for each place in window order the token in raster order, L for padding. place_L: the inverse, without
    padding. mask: (nW, N, N) or None.
    """

    size: Size3
    window: Size3
    shift: Size3
    padded: Size3
    order_P: Tensor
    place_L: Tensor
    mask: Tensor | None

    @property
    def pads(self) -> bool:
        """True when the clip is no multiple of the window."""
        return self.padded != self.size

    @property
    def tokens(self) -> int:
        """N, tokens of a window."""
        return self.window[0] * self.window[1] * self.window[2]


@lru_cache(maxsize=128)
def window_plan(size: Size3, window: Size3, shift: Size3, device: torch.device) -> WindowPlan:
    """The plan of a block with the configured `window` and `shift` on clips of `size`; kept for the next batch."""
    window, shift = effective_window(size, window, shift)
    padded = padded_size(size, window)
    with torch.inference_mode(False), torch.device("cpu"):
        tokens = size[0] * size[1] * size[2]
        raster = torch.arange(tokens).view(size)
        pad = [n for length, full in zip(reversed(size), reversed(padded), strict=True) for n in (0, full - length)]
        raster = F.pad(raster, pad, value=tokens)
        rolled = torch.roll(raster, [-step for step in shift], dims=(0, 1, 2))
        order_P = partition(rolled[None, ..., None], window).flatten()
        place_L = torch.empty(tokens, dtype=torch.long)
        real = order_P < tokens
        place_L[order_P[real]] = torch.arange(len(order_P))[real]
        mask = shift_mask(padded, window, shift) if any(shift) else None
        mask = None if mask is None else mask.to(device)
        return WindowPlan(size, window, shift, padded, order_P.to(device), place_L.to(device), mask)


class _Permute(torch.autograd.Function):
    """x[:, order] for a permutation; the gradient is a gather too, where autograd would scatter and add."""

    @staticmethod
    def forward(ctx: Any, x_BLC: Tensor, order_L: Tensor, inverse_L: Tensor) -> Tensor:
        ctx.inverse_L = inverse_L
        return x_BLC.index_select(1, order_L)

    @staticmethod
    def backward(ctx: Any, grad_BLC: Tensor) -> tuple[Tensor, None, None]:
        return grad_BLC.index_select(1, ctx.inverse_L), None, None


def permute_tokens(x_BLC: Tensor, order_L: Tensor, inverse_L: Tensor) -> Tensor:
    """x_BLC[:, order_L]; `inverse_L` must be the inverse permutation."""
    return _Permute.apply(x_BLC, order_L, inverse_L)


class _BiasedAttention(torch.autograd.Function):
    """qkv (W, N, 3C) -> (W, N, C): softmax(q @ k.T / sqrt(K) + bias) @ v, with a gradient for the bias.

    bias: (H, N, N); mask: (nW, N, N) or None. PyTorch has no fused kernel on a CPU that gives a bias its gradient;
    what it does instead passes over the scores several times more. Here a pass is a matrix product or the softmax, and
    both work in place: fresh memory of that size costs about as much as the pass itself.
    """

    @staticmethod
    def forward(ctx: Any, qkv_WNC: Tensor, bias: Tensor, mask: Tensor | None) -> Tensor:
        heads, tokens = bias.shape[:2]
        rows = rearrange(qkv_WNC, "w n (three h k) -> three (w h) n k", three=3, h=heads).contiguous()
        q, k, v = rows.unbind(0)
        ctx.scale, ctx.heads = q.shape[-1] ** -0.5, heads
        q *= ctx.scale
        start = bias if mask is None else bias + mask[:, None]
        scores = q.new_empty(len(q), tokens, tokens)
        scores.view(-1, *start.shape).copy_(start)
        scores.baddbmm_(q, k.transpose(1, 2))
        weights = torch.softmax(scores, dim=-1, out=scores)
        ctx.save_for_backward(rows, weights)
        return rearrange(weights @ v, "(w h) n k -> w n (h k)", h=heads)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_WNC: Tensor) -> tuple[Tensor, Tensor, None]:
        rows, weights = ctx.saved_tensors
        q, k, v = rows.unbind(0)
        grad = rearrange(grad_WNC, "w n (h k) -> (w h) n k", h=ctx.heads).contiguous()
        grad_rows = torch.empty_like(rows)
        torch.bmm(weights.transpose(1, 2), grad, out=grad_rows[2])
        grad_scores = grad @ v.transpose(1, 2)
        torch.ops.aten._softmax_backward_data.out(grad_scores, weights, -1, weights.dtype, grad_input=grad_scores)
        torch.bmm(grad_scores, k, out=grad_rows[0]).mul_(ctx.scale)
        torch.bmm(grad_scores.transpose(1, 2), q, out=grad_rows[1])
        by_window = grad_scores.unflatten(0, (-1, ctx.heads))
        grad_bias = by_window[0] if len(by_window) == 1 else by_window.sum(dim=0)
        return rearrange(grad_rows, "three (w h) n k -> w n (three h k)", h=ctx.heads), grad_bias, None


class WindowAttention(nn.Module):
    """(W, N, C) -> (W, N, C): attention inside each window, with a learned bias per offset in time, height and width.

    exact: the official order of operations with materialised scores; otherwise one fused call where there is one that
    gives the bias its gradient, else plain products with as few passes over the scores as possible.
    """

    def __init__(self, dim: int, *, window: Size3, heads: int, exact: bool = False) -> None:
        super().__init__()
        self.window, self.heads, self.exact = tuple(window), heads, exact
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(table_rows(self.window), heads))
        # Released files hold the index; ours is computed, so loaders accept and ignore it (keys.py).
        self.register_buffer("relative_position_index", relative_position_index(self.window), persistent=False)

    def bias(self, tokens: int) -> Tensor:
        """(H, N, N) for windows of `tokens` tokens.

        Kept: a cut window takes the top-left corner of the configured index, which is right only when time alone was
        cut. [htwa_ragged, window_attention]
        """
        index = self.relative_position_index[:tokens, :tokens]
        # A look-up in the transposed table gives (H, N, N) at once, contiguous.
        return self.relative_position_bias_table.t().index_select(1, index.flatten()).view(-1, tokens, tokens)

    def forward(self, x_WNC: Tensor, mask: Tensor | None = None) -> Tensor:
        """mask: (nW, N, N), added to the scores of each sample's nW windows."""
        qkv_WNC = self.qkv(x_WNC)
        trains_on_cpu = qkv_WNC.device.type == "cpu" and qkv_WNC.dtype == torch.float32 and torch.is_grad_enabled()
        if trains_on_cpu and not self.exact:
            return self.proj(_BiasedAttention.apply(qkv_WNC, self.bias(x_WNC.shape[1]), mask))
        qkv = rearrange(qkv_WNC, "w n (three h k) -> three w h n k", three=3, h=self.heads)
        attend = self._exact if self.exact else self._fused
        out_WHNK = attend(*qkv.unbind(0), mask)
        return self.proj(rearrange(out_WHNK, "w h n k -> w n (h k)"))

    def _exact(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        tokens = scores.shape[-1]
        flat = self.relative_position_index[:tokens, :tokens].reshape(-1)
        bias = self.relative_position_bias_table[flat].view(tokens, tokens, -1)
        scores = scores + bias.permute(2, 0, 1).contiguous()[None]
        if mask is not None:
            scores = scores.view(-1, len(mask), *scores.shape[1:]) + mask[:, None]
            scores = scores.flatten(0, 1)
        return scores.softmax(dim=-1) @ v

    def _fused(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        bias = self.bias(q.shape[2]).to(q.dtype)
        if mask is None:
            return F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None])
        # One sample's windows become heads, so that bias and mask are shared by the samples, not repeated.
        bias = (bias + mask[:, None].to(q.dtype)).flatten(0, 1)[None]
        q, k, v = (rearrange(one, "(b w) h n k -> b (w h) n k", w=len(mask)) for one in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return rearrange(out, "b (w h) n k -> (b w) h n k", w=len(mask))
