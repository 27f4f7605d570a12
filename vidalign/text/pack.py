"""Rows of token ids: putting pieces together, supervised spans, cutting, padding.

A row holds PLACEHOLDER where a visual token will be put; `stack` writes 0 there and in the padding.
Legend: B batch, O rows per sample, S length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

PLACEHOLDER = -2


@dataclass(frozen=True, kw_only=True)
class Row:
    """One token row and the positions in it.

    ids: token ids, PLACEHOLDER at visual tokens. video_start: first placeholder. supervised: first label position.
    question_start: first token of the question proper (None where it does not matter). cut_start, cut_end: the
    dialogue, which may be shortened from its end.
    """

    ids: tuple[int, ...]
    video_start: int
    supervised: int
    question_start: int | None = None
    cut_start: int = 0
    cut_end: int = 0

    def __len__(self) -> int:
        return len(self.ids)


def shared_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """Number of leading ids that two rows have in common."""
    for index, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return index
    return min(len(left), len(right))


def shorten(row: Row, keep: int) -> Row:
    """Keep the first `keep` tokens of the cut span, drop the rest of it, and move the positions behind it.

    A negative `keep` takes that many tokens before the span away too.
    """
    gap = row.cut_end - row.cut_start - keep

    def moved(position: int | None) -> int | None:
        return position - gap if position is not None and position >= row.cut_end else position

    return replace(
        row,
        ids=row.ids[: row.cut_start + keep] + row.ids[row.cut_end :],
        video_start=moved(row.video_start),
        supervised=moved(row.supervised),
        question_start=moved(row.question_start),
        cut_end=row.cut_start + max(keep, 0),
    )


def stack(rows: Sequence[Row], length: int) -> Tensor:
    """Ids (O, S) int64: rows padded on the right to `length`, longer ones cut; placeholders and padding are 0."""
    ids = torch.zeros(len(rows), length, dtype=torch.int64)
    for index, row in enumerate(rows):
        cut = torch.tensor(row.ids[:length], dtype=torch.int64)
        ids[index, : len(cut)] = cut.clamp_min(0)
    return ids


def text_labels(rows: Sequence[Row], length: int) -> tuple[Tensor, Tensor]:
    """Labels (O, S) int64, 0 where nothing is supervised, and the mask (O, S) float32 of the supervised positions.

    Supervised is everything from `row.supervised` to the row's end. The mask also holds for a label whose id is 0.
    """
    ids = stack(rows, length)
    mask = torch.zeros(len(rows), length)
    for index, row in enumerate(rows):
        known = torch.tensor([i >= 0 for i in row.ids[:length]], dtype=torch.bool)
        mask[index, : len(known)] = known.float()
        mask[index, : row.supervised] = 0
    return ids * mask.to(torch.int64), mask


def frame_labels(rows: Sequence[Row], length: int, num_frames: int) -> Tensor:
    """Labels (O, S) int64 of the frame prediction: 0..F-1 on the placeholders, -1 elsewhere."""
    labels = torch.full((len(rows), length), -1, dtype=torch.int64)
    for index, row in enumerate(rows):
        labels[index, row.video_start : row.video_start + num_frames] = torch.arange(num_frames)
    return labels


def pad_stack(tensors: Sequence[Tensor], *, rows: int, length: int, fill: int = 0) -> Tensor:
    """Stack (O_i, S_i) tensors to (B, rows, length), filling what is missing."""
    out = torch.full((len(tensors), rows, length), fill, dtype=tensors[0].dtype)
    for index, tensor in enumerate(tensors):
        out[index, : tensor.shape[0], : tensor.shape[1]] = tensor
    return out
