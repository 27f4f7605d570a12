"""Visual tokens in the place of placeholders: one placeholder per frame, as in the LLaVA family.

Video-Panda (arXiv 2412.18609); specification video_panda, section 4.6. The plan is made on the CPU, where the sizes of
all pictures are known, so that the model only gathers.

Shape letters: B samples, S positions after splicing, D width of the language model, N visual tokens of all samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vidalign.common.errors import DataError

PLACEHOLDER = -200
IGNORE = -100


def plan_splice(
    ids: Sequence[Tensor],
    labels: Sequence[Tensor],
    frame_tokens: Sequence[Sequence[int]],
    *,
    padding_side: str = "right",
    uids: Sequence[str] | None = None,
) -> dict[str, Tensor]:
    """ids, labels: one row per sample without padding; frame_tokens: per sample, how many tokens each frame has.

    Returns text_ids (B, S), 0 where no text; visual_rows (N,), positions in the flattened (B * S) of the visual tokens
    in order; labels (B, S), -100 on visual tokens and padding; mask (B, S) bool; frame_rows
    (frames,), where each frame begins in the flattened positions; predict_rows and targets (M,), the flattened
    positions that predict a trained token, and that token.

    DataError when a sample has not one placeholder per frame.
    Changed: the official code takes the next sample's frames then, or ends with an index error.
    """
    lengths, pieces = [], []
    for number, (row, own) in enumerate(zip(ids, frame_tokens, strict=True)):
        holes = int((row == PLACEHOLDER).sum())
        if holes != len(own):
            name = uids[number] if uids else f"sample {number}"
            raise DataError(
                f"{name}: {holes} picture placeholders for {len(own)} frames; a sample has one clip (<video>) or one "
                "picture (<image>), named once"
            )
        counts = torch.ones(len(row), dtype=torch.long)
        counts[row == PLACEHOLDER] = torch.tensor(list(own), dtype=torch.long)
        pieces.append(counts)
        lengths.append(int(counts.sum()))
    width = max(lengths)
    plan = {
        "text_ids": torch.zeros(len(ids), width, dtype=torch.long),
        "labels": torch.full((len(ids), width), IGNORE),
        "mask": torch.zeros(len(ids), width, dtype=torch.bool),
    }
    visual, frames = [], []
    for number, (row, label, counts) in enumerate(zip(ids, labels, pieces, strict=True)):
        start = width - lengths[number] if padding_side == "left" else 0
        place = slice(start, start + lengths[number])
        is_hole = row == PLACEHOLDER
        # Every id repeated as often as it takes up positions; placeholders become text id 0, label -100.
        plan["text_ids"][number, place] = torch.where(is_hole, 0, row).repeat_interleave(counts)
        plan["labels"][number, place] = torch.where(is_hole, IGNORE, label).repeat_interleave(counts)
        plan["mask"][number, place] = True
        is_visual = is_hole.repeat_interleave(counts)
        visual.append(number * width + start + is_visual.nonzero().flatten())
        frames.append(number * width + start + (counts.cumsum(0) - counts)[is_hole])
    plan |= {"visual_rows": torch.cat(visual), "frame_rows": torch.cat(frames)}
    # The token at t is predicted at t - 1 of the same row.
    trained = plan["labels"][:, 1:] != IGNORE
    rows, columns = trained.nonzero(as_tuple=True)
    return plan | {"predict_rows": rows * width + columns, "targets": plan["labels"][:, 1:][trained]}


def splice(embed: Callable[[Tensor], Tensor], visual_ND: Tensor | None, plan: dict[str, Tensor]) -> Tensor:
    """(B, S, D): text embeddings with the visual tokens in their places and zero vectors as padding."""
    x_BSD = embed(plan["text_ids"]).masked_fill(~plan["mask"][..., None], 0.0)
    if visual_ND is None or not len(visual_ND):
        return x_BSD
    flat = x_BSD.flatten(0, 1).index_copy(0, plan["visual_rows"], visual_ND.to(x_BSD.dtype))
    return flat.view(x_BSD.shape)


def exact_splice(embed: Callable[[Tensor], Tensor], visual_ND: Tensor | None, plan: dict[str, Tensor]) -> Tensor:
    """The same, one sample and one frame after the other, as the official code does it."""
    rows = []
    visual_rows, start = plan["visual_rows"].tolist(), 0
    places = {row: number for number, row in enumerate(visual_rows)}
    width = plan["text_ids"].shape[1]
    for number, (ids, mask) in enumerate(zip(plan["text_ids"], plan["mask"], strict=True)):
        parts, start = [], 0
        for position in range(width):
            row = number * width + position
            if row in places:
                parts += [embed(ids[start:position]), visual_ND[places[row]][None]]
                start = position + 1
        parts.append(embed(ids[start:]))
        rows.append(torch.cat(parts) * mask[:, None])
    return torch.stack(rows)
