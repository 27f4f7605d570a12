"""Hierarchical Temporal Window Attention: the video encoder of LF-VILA.

A 3D Swin whose temporal window grows from stage to stage while time is never pooled (arXiv 2210.06031, section 3.2;
specification lf_vila, section 2.1).
Legend: B samples, D frames, H height and W width in patches, C channels, L = D * H * W, N tokens of a window.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vidalign.common.errors import ConfigError
from vidalign.layers.drop_path import DropPath
from vidalign.layers.window3d import (
    Size3,
    WindowAttention,
    WindowPlan,
    effective_window,
    partition,
    permute_tokens,
    unpartition,
    window_plan,
)


@dataclass(frozen=True)
class HTWASizes:
    """What decides the encoder's shapes; lists have one entry per stage. `stages`: stage i is embed_dim * 2**stages[i]
    wide; `downsample_stages`: height and width are halved after these."""

    patch_size: Size3
    embed_dim: int
    depths: tuple[int, ...]
    downsample_stages: tuple[int, ...]
    stages: tuple[int, ...]
    num_heads: tuple[int, ...]
    window_size: tuple[Size3, ...]
    local_window: int = 8
    patch_norm: bool = True
    mlp_ratio: float = 4.0

    @property
    def out_dim(self) -> int:
        """Channels of the final features."""
        return self.embed_dim * 2 ** self.stages[-1]


class PatchEmbed(nn.Module):
    """(B, 3, T, H, W) -> (B, D, H, W, C)."""

    def __init__(self, patch: Size3, dim: int, *, norm: bool = True, exact: bool = False) -> None:
        super().__init__()
        self.patch, self.exact = tuple(patch), exact
        self.proj = nn.Conv3d(3, dim, kernel_size=self.patch, stride=self.patch)
        self.norm = nn.LayerNorm(dim) if norm else None

    def forward(self, video: Tensor) -> Tensor:
        """Sizes must be multiples of the patch.

        Changed: the official padding looks at the wrong axes and would append a frame; here such sizes are an error.
        """
        if any(length % side for length, side in zip(video.shape[2:], self.patch, strict=True)):
            raise ConfigError(
                f"frames x height x width {tuple(video.shape[2:])} must be multiples of the patch {self.patch}; "
                "change model.num_frames or model.image_hw"
            )
        if self.exact:
            x = rearrange(self.proj(video), "b c d h w -> b d h w c")
        else:
            t, h, w = self.patch
            pieces = rearrange(video, "b c (d t) (i h) (j w) -> b d i j (c t h w)", t=t, h=h, w=w)
            x = F.linear(pieces, self.proj.weight.flatten(1), self.proj.bias)
        return x if self.norm is None else self.norm(x)


class PatchMerging(nn.Module):
    """(B, D, H, W, C) -> (B, D, H/2, W/2, 2C); odd sizes get one zero row or column at the end."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x_BDHWC: Tensor) -> Tensor:
        """Neighbours stand in the order (even, even), (odd row, even), (even, odd column), (odd, odd)."""
        height, width = x_BDHWC.shape[2:4]
        if height % 2 or width % 2:
            x_BDHWC = F.pad(x_BDHWC, (0, 0, 0, width % 2, 0, height % 2))
        return self.reduction(self.norm(rearrange(x_BDHWC, "b d (i h) (j w) c -> b d i j (w h c)", h=2, w=2)))


class Mlp(nn.Module):
    """Two linear layers around an exact GELU."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """One attention layer and one MLP, both residual, over windows of `window`, rolled by `shift`."""

    def __init__(
        self,
        dim: int,
        *,
        heads: int,
        window: Size3,
        shift: Size3 = (0, 0, 0),
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
        exact: bool = False,
    ) -> None:
        super().__init__()
        self.window, self.shift = tuple(window), tuple(shift)
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, window=window, heads=heads, exact=exact)
        self.drop_path = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.exact = exact

    def plan(self, size: Size3, device: torch.device) -> WindowPlan:
        """The windows of this block on clips of `size`."""
        return window_plan(size, self.window, self.shift, device)

    def forward(self, x_BLC: Tensor, plan: WindowPlan) -> Tensor:
        """x_BLC: tokens in the plan's window order where it needs no padding, else (and with exact) in raster order."""
        attended = self._rolled(x_BLC, plan) if self.exact else self._planned(x_BLC, plan)
        x_BLC = x_BLC + self.drop_path(attended)
        return x_BLC + self.drop_path(self.mlp(self.norm2(x_BLC)))

    def _planned(self, x_BLC: Tensor, plan: WindowPlan) -> Tensor:
        batch, width, tokens = len(x_BLC), x_BLC.shape[2], plan.tokens
        h_BLC = self.norm1(x_BLC)
        if plan.pads:
            # Kept: padding comes after the norm and is not masked; it takes part as keys made of biases. [htwa_ragged]
            h_BLC = F.pad(h_BLC, (0, 0, 0, 1)).index_select(1, plan.order_P)
        out = self.attn(h_BLC.reshape(-1, tokens, width), plan.mask).reshape(batch, -1, width)
        return out.index_select(1, plan.place_L) if plan.pads else out

    def _rolled(self, x_BLC: Tensor, plan: WindowPlan) -> Tensor:
        """The official order: pad, roll, cut into windows, attend, and all the way back."""
        (d, h, w), padded = plan.size, plan.padded
        x = self.norm1(x_BLC).unflatten(1, plan.size)
        x = F.pad(x, (0, 0, 0, padded[2] - w, 0, padded[1] - h, 0, padded[0] - d))
        x = torch.roll(x, [-step for step in plan.shift], dims=(1, 2, 3))
        x = unpartition(self.attn(partition(x, plan.window).contiguous(), plan.mask), plan.window, padded)
        x = torch.roll(x, plan.shift, dims=(1, 2, 3))
        return x[:, :d, :h, :w].flatten(1, 3)


class Stage(nn.Module):
    """(B, D, H, W, C): blocks, every other one shifted, then patch merging where the stage has it."""

    def __init__(
        self,
        dim: int,
        *,
        depth: int,
        heads: int,
        window: Size3,
        downsample: bool,
        drop_path: tuple[float, ...] = (),
        temporal_shift: bool = False,
        mlp_ratio: float = 4.0,
        exact: bool = False,
    ) -> None:
        super().__init__()
        self.window, self.exact = tuple(window), exact
        half = tuple(side // 2 for side in window)
        self.shift = half if temporal_shift else (0, *half[1:])
        rates = drop_path or (0.0,) * depth
        self.blocks = nn.ModuleList(
            Block(
                dim,
                heads=heads,
                window=window,
                shift=self.shift if i % 2 else (0, 0, 0),
                mlp_ratio=mlp_ratio,
                drop_path=rates[i],
                exact=exact,
            )
            for i in range(depth)
        )
        self.downsample = PatchMerging(dim) if downsample else None

    def effective(self, size: Size3) -> tuple[Size3, Size3]:
        """(window, shift of the odd blocks) on clips of `size`."""
        return effective_window(size, self.window, self.shift)

    def forward(self, x_BDHWC: Tensor) -> Tensor:
        """Blocks and merging."""
        return self.merge(self.run_blocks(x_BDHWC)[-1])

    def merge(self, x_BDHWC: Tensor) -> Tensor:
        """Patch merging where the stage has it."""
        return x_BDHWC if self.downsample is None else self.downsample(x_BDHWC)

    def run_blocks(self, x_BDHWC: Tensor, *, every: bool = False) -> list[Tensor]:
        """The output of the last block, or with `every` of each block, in raster order.

        Tokens stay in window order between the blocks: one gather takes them from one block's windows to the next's.
        """
        size = tuple(x_BDHWC.shape[1:4])
        x_BLC, layout, outputs = x_BDHWC.flatten(1, 3), None, []
        for number, block in enumerate(self.blocks, start=1):
            plan = block.plan(size, x_BLC.device)
            wanted = None if self.exact or plan.pads else plan
            x_BLC = _relayout(x_BLC, layout, wanted)
            layout = wanted
            x_BLC = block(x_BLC, plan)
            if every or number == len(self.blocks):
                outputs.append(_relayout(x_BLC, layout, None).unflatten(1, size))
        return outputs


def _relayout(x_BLC: Tensor, have: WindowPlan | None, want: WindowPlan | None) -> Tensor:
    """Tokens from one window order to another; None is raster order."""
    if have is want:
        return x_BLC
    if have is None:
        return permute_tokens(x_BLC, want.order_P, want.place_L)
    if want is None:
        return permute_tokens(x_BLC, have.place_L, have.order_P)
    return permute_tokens(x_BLC, have.place_L[want.order_P], want.place_L[have.order_P])


class VideoEncoder(nn.Module):
    """(B, 3, T, H, W) normalised pixels -> (B, D, h, w, C) features of every frame.

    `local_feat_proj` and `norm_local` make the features of the early exit, see `local_features`.
    frozen_stages: -1 none; n: the patch embedding and the first n stages neither train nor drop paths.
    """

    def __init__(
        self, sizes: HTWASizes, *, drop_path_rate: float = 0.2, frozen_stages: int = -1, exact: bool = False
    ) -> None:
        super().__init__()
        self.sizes, self.exact, self.frozen_stages = sizes, exact, frozen_stages
        self.patch_embed = PatchEmbed(sizes.patch_size, sizes.embed_dim, norm=sizes.patch_norm, exact=exact)
        rates = torch.linspace(0, drop_path_rate, sum(sizes.depths), device="cpu").tolist()
        ends = list(accumulate(sizes.depths))
        self.layers = nn.ModuleList(
            Stage(
                sizes.embed_dim * 2 ** sizes.stages[i],
                depth=depth,
                heads=sizes.num_heads[i],
                window=sizes.window_size[i],
                downsample=i in sizes.downsample_stages,
                drop_path=tuple(rates[ends[i] - depth : ends[i]]),
                mlp_ratio=sizes.mlp_ratio,
                exact=exact,
            )
            for i, depth in enumerate(sizes.depths)
        )
        self.norm = nn.LayerNorm(sizes.out_dim)
        self.norm_local = nn.LayerNorm(sizes.out_dim)
        self.local_feat_proj = PatchMerging(sizes.out_dim // 2)
        self._freeze()

    def init_weights(self) -> None:
        """The official start: truncated normal 0.02 for linear layers and bias tables, the rest PyTorch's own."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, WindowAttention):
                nn.init.trunc_normal_(module.relative_position_bias_table, std=0.02)

    def forward(self, video: Tensor) -> Tensor:
        """The final features. The official code returns them a second time as "local" ones.

        Kept: its true local features are lost there, and released weights were trained so. [htwa_full, pretrain_stage1]
        """
        x = self.patch_embed(video)
        for stage in self.layers:
            x = stage(x)
        return self.norm(x)

    def stage_outputs(self, video: Tensor) -> list[Tensor]:
        """The patch embedding and each stage's output after merging, before the final norm."""
        outputs = [self.patch_embed(video)]
        for stage in self.layers:
            outputs.append(stage(outputs[-1]))
        return outputs

    def local_features(self, video: Tensor) -> Tensor:
        """The early exit: what enters the first stage whose temporal window exceeds `local_window`, merged, normed.

        ConfigError where there is no such stage, or none of half the final width.
        """
        sizes = self.sizes
        times = [window[0] for window in sizes.window_size]
        first = next((stage for stage, time in enumerate(times) if time > sizes.local_window), None)
        if first is None or 2 * sizes.embed_dim * 2 ** sizes.stages[first] != sizes.out_dim:
            raise ConfigError(
                f"no local features: the first temporal window above local_window {sizes.local_window} must be that of "
                f"a stage half as wide as the last one; the windows are {times}, the stages {list(sizes.stages)}"
            )
        x = self.patch_embed(video)
        for stage in self.layers[:first]:
            x = stage(x)
        return self.norm_local(self.local_feat_proj(x))

    def train(self, mode: bool = True) -> VideoEncoder:
        """Frozen stages stay in evaluation mode."""
        super().train(mode)
        for module in self._frozen():
            module.eval()
        return self

    def _frozen(self) -> list[nn.Module]:
        return [self.patch_embed, *self.layers[: self.frozen_stages]] if self.frozen_stages >= 0 else []

    def _freeze(self) -> None:
        for module in self._frozen():
            module.requires_grad_(False)
