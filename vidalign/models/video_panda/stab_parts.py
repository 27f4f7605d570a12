"""The four parts of the Spatio-Temporal Alignment Block (Video-Panda, arXiv 2412.18609, section 3).

LSTE looks along time at every place, GSTRA gathers a chunk of frames into one context token, LSD merges 2x2 patches by
attention, FSRA gathers a frame into one token. Parameter names are the released ones. Every part has a fast `forward`
and `exact`, the official order of operations, against which it is tested.

Shape letters: B rows, K chunks, T frames of a chunk, H W patch grid, h w = H/2 W/2, N frames, M keys, C width,
R reduced width, A heads, D width of a head.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn


class LocalMHRA(nn.Module):
    """LSTE: chunks (K, T, H, W, C) -> the same shape, to be added: norm, C -> R, along time, R -> C (UniFormerV2)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        reduced = int(dim // 1.5)
        self.pos_embed = nn.Sequential(
            nn.BatchNorm3d(dim),
            nn.Conv3d(dim, reduced, 1),
            nn.Conv3d(reduced, reduced, (3, 1, 1), padding=(1, 0, 0), groups=reduced),
            nn.Conv3d(reduced, dim, 1),
        )
        nn.init.zeros_(self.pos_embed[3].weight)
        nn.init.zeros_(self.pos_embed[3].bias)

    def forward(self, x_KTHWC: Tensor, *, chunks: Sequence[int]) -> Tensor:
        """chunks: how many chunks each video has, in order; in training each video is normalised by itself."""
        norm, inward, temporal, outward = self.pos_embed
        y = batch_norm_per_video(norm, x_KTHWC, chunks=chunks)
        y = F.linear(y, inward.weight.flatten(1), inward.bias)
        before_R, here_R, after_R = rearrange(temporal.weight.to(y.dtype), "r 1 t 1 1 -> t r")
        mixed = torch.addcmul(temporal.bias.to(y.dtype), y, here_R)
        mixed = mixed + F.pad(y[:, :-1] * before_R, (0, 0, 0, 0, 0, 0, 1, 0))
        mixed = mixed + F.pad(y[:, 1:] * after_R, (0, 0, 0, 0, 0, 0, 0, 1))
        return F.linear(mixed, outward.weight.flatten(1), outward.bias)

    def exact(self, x_KTHWC: Tensor) -> Tensor:
        """One video, the layers as they stand."""
        return rearrange(self.pos_embed(rearrange(x_KTHWC, "k t h w c -> k c t h w")), "k c t h w -> k t h w c")


def batch_norm_per_video(norm: nn.BatchNorm3d, x_KTHWC: Tensor, *, chunks: Sequence[int]) -> Tensor:
    """BatchNorm with channels last. In training the statistics are those of one video at a time, borders and padded
    frames included, and the running ones move once per video, in order.

    Kept: the official code runs videos one by one, so its statistics never mix them. [model_train_forward]
    """
    if not norm.training:
        scale_C = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        return torch.addcmul(norm.bias - norm.running_mean * scale_C, x_KTHWC, scale_C)
    videos = x_KTHWC.split(list(chunks))
    if len(set(chunks)) == 1:
        x_VMC = rearrange(x_KTHWC, "(v k) t h w c -> v (k t h w) c", v=len(videos))
        var_VC, mean_VC = torch.var_mean(x_VMC.float(), dim=1, correction=0)
    else:
        pairs = [torch.var_mean(x.float().flatten(0, -2), dim=0, correction=0) for x in videos]
        var_VC, mean_VC = (torch.stack(parts) for parts in zip(*pairs, strict=True))
    counts = [video.numel() // video.shape[-1] for video in videos]
    _move_running(norm, mean_VC.detach(), var_VC.detach(), counts)
    scale_VC = norm.weight * torch.rsqrt(var_VC + norm.eps)
    shift_VC = norm.bias - mean_VC * scale_VC
    index = torch.repeat_interleave(
        torch.arange(len(videos), device=x_KTHWC.device),
        torch.tensor(list(chunks), device=x_KTHWC.device),
        output_size=len(x_KTHWC),
    )
    return torch.addcmul(shift_VC[index][:, None, None, None], x_KTHWC, scale_VC[index][:, None, None, None])


def _move_running(norm: nn.BatchNorm3d, mean_VC: Tensor, var_VC: Tensor, counts: Sequence[int]) -> None:
    """Several updates at once: r <- (1 - m) r + m s for every video's s, the variance unbiased."""
    size, momentum = len(counts), norm.momentum
    count_V1 = mean_VC.new_tensor(counts)[:, None]
    share_V1 = mean_VC.new_tensor([momentum * (1 - momentum) ** (size - 1 - i) for i in range(size)])[:, None]
    with torch.no_grad():
        unbiased_VC = var_VC * count_V1 / (count_V1 - 1)
        norm.running_mean.mul_((1 - momentum) ** size).add_((share_V1 * mean_VC).sum(0))
        norm.running_var.mul_((1 - momentum) ** size).add_((share_V1 * unbiased_VC).sum(0))
        norm.num_batches_tracked.add_(size)


class DepthwiseConv3d(nn.Conv3d):
    """DPE: chunks (K, T, H, W, C) -> the same shape; every channel by itself, zeros around.

    The library's gradient with respect to the input of such a convolution takes ten times as long on a CPU as the
    convolution; it is the convolution of the output's gradient with the kernel turned around.
    """

    def __init__(self, dim: int, size: int = 3) -> None:
        super().__init__(dim, dim, size, padding=size // 2, groups=dim)

    def forward(self, x_KTHWC: Tensor) -> Tensor:
        """Channels last in memory, as they come."""
        x = rearrange(x_KTHWC, "k t h w c -> k c t h w")
        by_hand = x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
        y = _Depthwise.apply(x, self.weight, self.bias) if by_hand else super().forward(x)
        return rearrange(y, "k c t h w -> k t h w c")

    def exact(self, x_KCTHW: Tensor) -> Tensor:
        """The layer as it stands."""
        return super().forward(x_KCTHW)


class _Depthwise(torch.autograd.Function):
    """A depthwise 3D convolution with odd kernel sizes and as much padding as keeps the size."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv3d(x, weight, bias, padding=_same(weight), groups=len(weight))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        padding = _same(weight)
        wanted_x, wanted_weight, wanted_bias = ctx.needs_input_grad
        grad_x = F.conv3d(grad, weight.flip(2, 3, 4), padding=padding, groups=len(weight)) if wanted_x else None
        grad_weight = grad_bias = None
        if wanted_weight:
            grad_weight = torch.nn.grad.conv3d_weight(x, weight.shape, grad, padding=padding, groups=len(weight))
        if wanted_bias:
            grad_bias = grad.sum((0, 2, 3, 4))
        return grad_x, grad_weight, grad_bias


def _same(weight: Tensor) -> tuple[int, int, int]:
    time, height, width = weight.shape[2:]
    return time // 2, height // 2, width // 2


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x)."""

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise."""
        return x * torch.sigmoid(1.702 * x)


class Extractor(nn.Module):
    """GSTRA: one query per row (B, C) over keys (B, M, C) -> (B, C), then an MLP (decoder block of UniFormerV2)."""

    def __init__(self, dim: int, *, heads: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.heads = heads
        self.attn = nn.MultiheadAttention(dim, heads)
        self.ln_1 = nn.LayerNorm(dim)
        layers = [
            ("c_fc", nn.Linear(dim, 4 * dim)),
            ("gelu", QuickGELU()),
            ("dropout", nn.Dropout(dropout)),
            ("c_proj", nn.Linear(4 * dim, dim)),
        ]
        self.mlp = nn.Sequential(OrderedDict(layers))
        self.ln_2, self.ln_3 = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, query_BC: Tensor, keys_BMC: Tensor) -> Tensor:
        """With a single query the key matrix moves to the query's side and the value matrix behind the sum over keys,
        so nothing is projected per key; the key's bias shifts all scores alike and drops out of the softmax.
        """
        weight_qkv = rearrange(self.attn.in_proj_weight, "(three a d) c -> three a d c", three=3, a=self.heads)
        bias_qkv = rearrange(self.attn.in_proj_bias, "(three a d) -> three a d", three=3, a=self.heads)
        query_BAD = torch.einsum("bc,adc->bad", self.ln_1(query_BC), weight_qkv[0]) + bias_qkv[0]
        seen_BMC = self.ln_3(keys_BMC)
        gathered_BAC = single_query(query_BAD, seen_BMC, weight_qkv[1], scale=query_BAD.shape[-1] ** -0.5)
        value_BAD = torch.einsum("bac,adc->bad", gathered_BAC, weight_qkv[2]) + bias_qkv[2]
        x_BC = query_BC + self.attn.out_proj(rearrange(value_BAD, "b a d -> b (a d)"))
        return x_BC + self.mlp(self.ln_2(x_BC))

    def exact(self, query_BC: Tensor, keys_BMC: Tensor) -> Tensor:
        """The block as it stands."""
        seen_MBC = rearrange(self.ln_3(keys_BMC), "b m c -> m b c")
        attended_1BC, _ = self.attn(self.ln_1(query_BC)[None], seen_MBC, seen_MBC, need_weights=False)
        x_BC = query_BC + attended_1BC[0]
        return x_BC + self.mlp(self.ln_2(x_BC))


def single_query(query_BAD: Tensor, seen_BMC: Tensor, weight_ADC: Tensor, *, scale: float) -> Tensor:
    """softmax((W_a^T q_a) . x_m * scale) over the keys m, times x: (B, A, C), values still to be projected."""
    folded_BAC = torch.einsum("bad,adc->bac", query_BAD, weight_ADC)
    weight_BAM = torch.softmax((folded_BAC @ seen_BMC.transpose(1, 2)).float() * scale, dim=-1)
    return weight_BAM.to(seen_BMC.dtype) @ seen_BMC


class _CrossAttention(nn.Module):
    """What LSD and FSRA share: normalised query and keys, one matrix for keys and values, a last projection.

    Kept: scores are scaled by the whole width, C ** -0.5, not by the head's. [stab_lsd_local_attention]
    """

    def __init__(self, dim: int, *, heads: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, dim**-0.5
        self.q = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim, bias=False))
        self.kv = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 2 * dim, bias=False))
        self.proj = nn.Linear(dim, dim)

    def attend(self, query_BC: Tensor, keys_BMC: Tensor) -> Tensor:
        """The official order: keys and values of every row of `keys`; B queries, each with M keys of its own."""
        query = rearrange(self.q(query_BC), "b (a d) -> b a 1 d", a=self.heads)
        key, value = rearrange(self.kv(keys_BMC), "b m (two a d) -> two b a m d", two=2, a=self.heads)
        weight = torch.softmax((query @ key.transpose(-1, -2)).float() * self.scale, dim=-1).to(value.dtype)
        return query_BC + self.proj(rearrange(weight @ value, "b a 1 d -> b (a d)"))


class WindowAttention(_CrossAttention):
    """LSD: patches (N, H, W, C) -> (N, h, w, C); every cell's mean asks its own 2x2 patches."""

    def forward(self, x_NHWC: Tensor) -> Tensor:
        """One query per cell: as in Extractor.forward nothing is projected per patch, so a quarter of the work."""
        height, width = x_NHWC.shape[1] // 2, x_NHWC.shape[2] // 2
        blocks_B4C = rearrange(x_NHWC, "n (h p) (w q) c -> (n h w) (p q) c", p=2, q=2)
        pooled_BC = blocks_B4C.mean(1)
        weight_kv = rearrange(self.kv[1].weight, "(two a d) c -> two a d c", two=2, a=self.heads)
        query_BAD = rearrange(self.q(pooled_BC), "b (a d) -> b a d", a=self.heads)
        gathered_BAC = single_query(query_BAD, self.kv[0](blocks_B4C), weight_kv[0], scale=self.scale)
        value_BAD = torch.einsum("bac,adc->bad", gathered_BAC, weight_kv[1])
        made_BC = pooled_BC + self.proj(rearrange(value_BAD, "b a d -> b (a d)"))
        return rearrange(made_BC, "(n h w) c -> n h w c", h=height, w=width)

    def exact(self, x_NHWC: Tensor) -> Tensor:
        """Windows cut out by unfold, as in the official code."""
        size, height, width, dim = x_NHWC.shape
        x_NCHW = rearrange(x_NHWC, "n h w c -> n c h w")
        windows = rearrange(F.unfold(x_NCHW, 2, stride=2), "n (c m) l -> (n l) m c", c=dim)
        pooled = rearrange(F.avg_pool2d(x_NCHW, 2), "n c h w -> (n h w) c")
        return self.attend(pooled, windows).view(size, height // 2, width // 2, dim)


class FrameAttention(_CrossAttention):
    """FSRA: a frame's tokens (N, M, C) and the query (1 or N, C) -> one token per frame (N, C)."""

    def forward(self, query_BC: Tensor, tokens_NMC: Tensor) -> Tensor:
        """One query per frame: see Extractor.forward."""
        weight_kv = rearrange(self.kv[1].weight, "(two a d) c -> two a d c", two=2, a=self.heads)
        query_BAD = rearrange(self.q(query_BC), "b (a d) -> b a d", a=self.heads)
        if len(query_BAD) == 1:
            query_BAD = query_BAD.expand(len(tokens_NMC), -1, -1)
        gathered_NAC = single_query(query_BAD, self.kv[0](tokens_NMC), weight_kv[0], scale=self.scale)
        value_NAD = torch.einsum("nac,adc->nad", gathered_NAC, weight_kv[1])
        return query_BC + self.proj(rearrange(value_NAD, "n a d -> n (a d)"))

    def exact(self, query_BC: Tensor, tokens_NMC: Tensor) -> Tensor:
        """Keys and values of every token."""
        query_NC = repeat(query_BC, "1 c -> n c", n=len(tokens_NMC)) if len(query_BC) == 1 else query_BC
        return self.attend(query_NC, tokens_NMC)
