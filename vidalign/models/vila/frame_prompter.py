"""Frame-Prompter: one frame per temporal segment, chosen by what the answer needs (ViLA, arXiv 2312.08367, 3.2).

Specification vila, section 2.6.
Shape letters: B samples, T frames, S segments, K = T / S frames of a segment, N tokens of a frame, C their width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

EVAL_TEMPERATURE = 0.01
# The temperature falls from 1 to this over so many epochs, however long the run is.
LAST_TEMPERATURE, ANNEALING_EPOCHS = 0.01, 50


@dataclass(frozen=True)
class Selection:
    """tokens_BSNC: the chosen frames in temporal order; positions_BS: which of the T frames they are.

    mask_BSK: the straight-through gate, 1 for the chosen frame of each segment up to rounding. logits_BSK: the gate's.
    """

    tokens_BSNC: Tensor
    positions_BS: Tensor
    mask_BSK: Tensor
    logits_BSK: Tensor | None = None

    @property
    def mask_BT11(self) -> Tensor:
        """The gate as the official code shapes it."""
        return rearrange(self.mask_BSK, "b s k -> b (s k) 1 1")


class FramePrompter(nn.Module):
    """Features (B, T, N, C) -> Selection. Parameter names are the released ones (all of them are linear layers)."""

    def __init__(self, *, num_frames: int, num_kept: int, num_tokens: int, gradient: str = "chosen") -> None:
        super().__init__()
        assert num_frames % num_kept == 0, f"{num_frames} frames do not divide into {num_kept} segments"
        assert gradient in ("chosen", "segment"), f"gradient {gradient!r}"
        self.num_kept, self.gradient = num_kept, gradient
        size = num_frames // num_kept
        self.conv_pool = nn.Linear(num_tokens * size, size)
        self.ln = nn.LayerNorm(size)
        self.conv_gs = nn.Linear(size, size)

    def gate(self, x_BTNC: Tensor) -> Tensor:
        """Logits (B, S, K): each frame is seen as the mean of every token over its channels."""
        means = rearrange(x_BTNC.mean(dim=-1), "b (s k) n -> b s (k n)", s=self.num_kept)
        return self.conv_gs(F.relu(self.ln(self.conv_pool(means))))

    def forward(self, x_BTNC: Tensor, *, temperature: float, uniform_BSK: Tensor | None = None) -> Selection:
        """uniform_BSK: draws from [0, 1) behind the Gumbel noise; None chooses the largest logit.

        Kept: with noise the choice is a draw from softmax(logits) at any temperature, at evaluation too. [vila_eval]
        """
        logits = self.gate(x_BTNC)
        # Changed: noise and softmax in float32 whatever the type; in half precision the official 1e-10 is 0 (trap 14).
        noise = 0.0 if uniform_BSK is None else gumbel(uniform_BSK.float())
        soft = ((logits.float() + noise) / temperature).softmax(dim=-1)
        chosen_BS = soft.argmax(dim=-1)
        hard = F.one_hot(chosen_BS, soft.shape[-1]).to(soft.dtype)
        mask = (hard - soft.detach()) + soft
        return select(x_BTNC, mask, chosen_BS, gradient=self.gradient, logits_BSK=logits)


def select(
    x_BTNC: Tensor, mask_BSK: Tensor, chosen_BS: Tensor, *, gradient: str = "chosen", logits_BSK: Tensor | None = None
) -> Selection:
    """Take the chosen frame of each segment, times its gate.

    gradient "chosen" (official): only the chosen frame's gate hears of the loss. "segment": each frame's gate hears how
    well that frame would have served; the values are the same.
    """
    x_BSKNC = rearrange(x_BTNC, "b (s k) n c -> b s k n c", s=mask_BSK.shape[1])
    index = chosen_BS[:, :, None, None, None].expand(-1, -1, 1, *x_BSKNC.shape[3:])
    tokens = x_BSKNC.gather(2, index).squeeze(2)
    gate = mask_BSK.gather(2, chosen_BS[..., None]).to(tokens.dtype)
    tokens = tokens * gate[..., None]
    if gradient == "segment":
        # Adds 0 in value; its gradient is that of sum_j gate_j x_j for the frames that were not chosen.
        others = mask_BSK.scatter(2, chosen_BS[..., None], 0.0).to(x_BTNC.dtype)
        tokens = tokens + torch.einsum("bsk,bsknc->bsnc", others - others.detach(), x_BSKNC.detach())
    first = torch.arange(mask_BSK.shape[1], device=chosen_BS.device) * mask_BSK.shape[2]
    return Selection(tokens, chosen_BS + first, mask_BSK, logits_BSK)


def gumbel(uniform: Tensor) -> Tensor:
    """Gumbel noise of uniform draws, with the official guard against log(0)."""
    return -torch.log(1e-10 - torch.log(uniform + 1e-10))


def take(x_BTNC: Tensor, within_S: Tensor) -> Selection:
    """The frame at `within_S` of each segment, the same for every sample, without a gate."""
    num_kept = len(within_S)
    size = x_BTNC.shape[1] // num_kept
    chosen_BS = within_S.to(x_BTNC.device).expand(len(x_BTNC), -1)
    return select(x_BTNC, F.one_hot(chosen_BS, size).to(x_BTNC.dtype), chosen_BS)


def annealed_temperature(position: float, iterations_per_epoch: int) -> float:
    """Temperature at a position in epochs (epoch + micro-batch / micro-batches of an epoch). [schedules]

    Kept: the end is 50 epochs away though the published runs have 10, so it only falls to about 0.4; and the power of a
    root, which rounds more than one power would.
    """
    if position >= ANNEALING_EPOCHS:
        return LAST_TEMPERATURE
    per_iteration = LAST_TEMPERATURE ** (1 / (ANNEALING_EPOCHS * iterations_per_epoch))
    return per_iteration ** round(position * iterations_per_epoch)
