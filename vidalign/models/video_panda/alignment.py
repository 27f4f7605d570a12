"""Alignment of the language model's hidden states to a frozen video encoder (Video-Panda, arXiv 2412.18609; EVE).

Nine hidden states of every patch token are fused into a prediction of the teacher's feature at the same place; the loss
is one minus their cosine. Training only.

Shape letters: B samples, S positions, N patch tokens, J hidden states, D width of the language model, C of the teacher,
A heads, E width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vidalign.common.errors import ConfigError
from vidalign.models.video_panda.boxes import Box

EVERY = 4


def aligned_states(num_layers: int, *, every: int = EVERY) -> list[int]:
    """Which hidden states take part: L, L - 4, ..., 0; 0 are the embeddings, L is behind the last norm."""
    return [num_layers - depth for depth in range(0, num_layers + 1, every)]


class AlignmentHead(nn.Module):
    """J hidden states (N, D) at the patch tokens -> predicted teacher features (N, C)."""

    def __init__(self, *, lm_dim: int, dim: int, states: int, heads: int = 8) -> None:
        super().__init__()
        self.heads, self.scale = heads, dim**-0.5
        self.norm_layer = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(lm_dim), nn.Linear(lm_dim, dim, bias=False)) for _ in range(states)
        )
        self.input_layer = nn.Linear(lm_dim, dim)
        self.output_layer = nn.Linear(dim, dim)

    def forward(self, states_ND: Sequence[Tensor]) -> Tensor:
        """The first state, the last layer's, asks the others; no projections inside.

        Kept: scores are scaled by the whole width, C ** -0.5, not by the head's. [alignment_loss]
        """
        u_JNC = [layer(state) for layer, state in zip(self.norm_layer, states_ND, strict=True)]
        others_JNAE = rearrange(torch.stack(u_JNC[1:]), "j n (a e) -> j n a e", a=self.heads)
        query_NAE = rearrange(u_JNC[0], "n (a e) -> n a e", a=self.heads)
        score_JNA1 = (query_NAE * others_JNAE).sum(-1, keepdim=True).float() * self.scale
        weight_JNA1 = torch.softmax(score_JNA1, dim=0).to(others_JNAE.dtype)
        z_NC = rearrange((weight_JNA1 * others_JNAE).sum(0), "n a e -> n (a e)")
        return self.input_layer(states_ND[0]) + self.output_layer(z_NC)


def alignment_loss(
    head: AlignmentHead,
    hidden_states: Sequence[Tensor],
    teacher_MC: Tensor,
    plan: dict[str, Tensor],
    *,
    layers: Sequence[int],
) -> Tensor:
    """Mean over real frames of the mean over patch tokens of 1 - cos(prediction, teacher).

    hidden_states: (B, S, D) of every layer, [0] the embeddings. teacher_MC: all frames' features one after the other.
    plan: see `plan_alignment`. 0 where no frame is real.
    """
    states = [hidden_states[layer].flatten(0, 1)[plan["align_rows"]] for layer in layers]
    predicted_NC = head(states)
    cosine_N = F.cosine_similarity(predicted_NC.float(), teacher_MC[plan["teacher_rows"]].float(), dim=-1, eps=1e-8)
    total = ((1 - cosine_N) * plan["align_weight"]).sum()
    return total / plan["align_frames"].clamp(min=1)


def exact_alignment_loss(
    head: AlignmentHead,
    hidden_states: Sequence[Tensor],
    teacher_MC: Tensor,
    plan: dict[str, Tensor],
    *,
    layers: Sequence[int],
) -> Tensor:
    """As the official code: all states stacked, every position through the head, one frame after the other."""
    stacked_BSLD = torch.stack(list(hidden_states), dim=2)
    chosen_JMD = [rearrange(stacked_BSLD[:, :, layer], "b s d -> (b s) d") for layer in layers]
    losses, start = [], 0
    for size in plan["frame_sizes"].tolist():
        rows, places = (plan[name][start : start + size] for name in ("align_rows", "teacher_rows"))
        predicted_nC = head([state[rows] for state in chosen_JMD])
        cosine_n = F.cosine_similarity(predicted_nC.float(), teacher_MC[places].float(), dim=-1, eps=1e-8)
        losses.append(1 - cosine_n.mean())
        start += size
    return torch.stack(losses).sum() / max(len(losses), 1) if losses else stacked_BSLD.sum() * 0


def plan_alignment(
    frame_rows: Sequence[int],
    boxes: Sequence[Box],
    *,
    teacher_side: int,
    context: bool = True,
    row_tokens: bool = True,
) -> dict[str, Tensor]:
    """Which rows of the flattened hidden states meet which teacher features.

    frame_rows: where each frame's tokens begin among the B * S positions, in frame order. boxes: of the student; the
    teacher's grid is as fine as the merged one. Padded frames take no part.

    Returns align_rows (N,), teacher_rows (N,), align_weight (N,) = 1 / tokens of the frame, align_frames (), the number
    of real frames, and frame_sizes (frames,).
    """
    rows, places, sizes = [], [], []
    for number, (first, box) in enumerate(zip(frame_rows, boxes, strict=True)):
        if box.empty:
            continue
        height, width = box.grid
        step = width + int(row_tokens)
        grid = torch.arange(height)[:, None] * step + torch.arange(width)
        rows.append(first + int(context) + grid.flatten())
        places.append(number * teacher_side**2 + _teacher_places(box, teacher_side))
        sizes.append(height * width)
        if len(places[-1]) != sizes[-1]:
            raise ConfigError(
                f"a frame has {height}x{width} tokens, the teacher sees {len(places[-1])} places of it: its patches "
                "must be as wide as two of the student's; correct model.size"
            )
    count = torch.tensor(sizes, dtype=torch.long)
    empty = torch.zeros(0, dtype=torch.long)
    return {
        "align_rows": torch.cat([empty, *rows]),
        "teacher_rows": torch.cat([empty, *places]),
        "align_weight": torch.repeat_interleave(1.0 / count, count),
        "align_frames": torch.tensor(len(sizes)),
        "frame_sizes": count,
    }


def _teacher_places(box: Box, side: int) -> Tensor:
    """Kept: a square picture is compared at all the teacher's places, any other at those inside it, row by row."""
    height, width = box.grid
    if height == width:
        return torch.arange(side**2)
    top, left = box.top // 2, box.left // 2
    return (torch.arange(top, top + height)[:, None] * side + torch.arange(left, left + width)).flatten()
