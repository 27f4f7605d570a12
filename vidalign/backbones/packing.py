"""Rows of different lengths as one row without padding; rows that begin alike share their beginning.

Almost all work of a causal LM is done for each token on its own. So only tokens that matter travel: of every row those
up to the last position whose output is wanted, and a beginning that rows have in common only once. Attention alone
needs the rows: it lays them out, and packs its result again.

Shape letters: R rows, T columns of the longest row, N packed tokens, K wanted positions of a stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor


@dataclass
class Packing:
    """How packed tokens lie in rows.

    source_N: each token's place in the flattened inputs (all streams, one after the other). column_N: its position in
    its row. take_RT: the packed token at every place of the rows, any token at places past a row's end. keep_N: each
    packed token's (first) place in the flattened rows. wanted: per stream the packed tokens (K,) of its wanted outputs.
    """

    source_N: Tensor
    column_N: Tensor
    take_RT: Tensor
    keep_N: Tensor
    wanted: list[Tensor]

    def rows(self, x_NX: Tensor) -> Tensor:
        """Packed (N, ...) -> rows (R, T, ...)."""
        return x_NX.index_select(0, self.take_RT.flatten()).unflatten(0, self.take_RT.shape)

    def packed(self, x_RTX: Tensor) -> Tensor:
        """Rows (R, T, ...) -> packed (N, ...)."""
        return x_RTX.flatten(0, 1).index_select(0, self.keep_N)


def pack_rows(
    wanted: Sequence[Tensor], shapes: Sequence[Sequence[int]], *, shared: int = 0, heads: Sequence[int] | None = None
) -> dict[str, Any]:
    """The fields of a Packing of the streams that make one pass; made on the CPU, in loader workers.

    wanted: per stream the flat positions (K,) whose outputs are wanted, in rows of `shapes` (R, T). shared: how many
    leading tokens each row of a later stream has in common with the same row of the first one. heads: per stream, how
    many leading tokens all its rows have in common (see common_head); tokens in common are equal inputs.
    """
    counts, widths = zip(*shapes, strict=True)
    starts = accumulate((count * width for count, width in shapes), initial=0)
    source_R = torch.cat([start + torch.arange(c) * w for start, (c, w) in zip(starts, shapes, strict=False)])
    first_rows = list(accumulate(counts, initial=0))[:-1]
    row_K = torch.cat([row + k // width for row, k, width in zip(first_rows, wanted, widths, strict=True)])
    column_K = torch.cat([k % width for k, width in zip(wanted, widths, strict=True)])

    # A row without any wanted output keeps one token.
    end_R = torch.ones(sum(counts), dtype=torch.long).scatter_reduce(0, row_K, column_K + 1, "amax")
    column_T = torch.arange(int(end_R.max()))
    # Which row holds the token at each place: the first row of its stream, the same row of the first stream, or itself.
    holder_RT = torch.arange(sum(counts))[:, None].repeat(1, len(column_T))
    for first, count, head in zip(first_rows, counts, heads or [0] * len(counts), strict=True):
        holder_RT[first : first + count, : min(head, int(end_R[first]))] = first
    twin_R = torch.arange(sum(counts)) % counts[0]
    of_twin_RT = column_T < torch.minimum(end_R, end_R[twin_R]).clamp(max=shared)[:, None]
    holder_RT = torch.where(of_twin_RT, holder_RT[twin_R], holder_RT)
    holder_RT = holder_RT.gather(0, holder_RT)  # a stream's first row may hold its twin's token itself

    own_RT = (holder_RT == torch.arange(sum(counts))[:, None]) & (column_T < end_R[:, None])
    token_RT = (own_RT.flatten().cumsum(0) - 1).view_as(own_RT) * own_RT
    take_RT = token_RT.gather(0, holder_RT)
    return {
        "source_N": (source_R[:, None] + column_T)[own_RT],
        "column_N": column_T.expand_as(own_RT)[own_RT],
        "take_RT": take_RT,
        "keep_N": own_RT.flatten().nonzero()[:, 0],
        "wanted": list(take_RT[row_K, column_K].split([len(k) for k in wanted])),
    }


def common_head(stream: dict[str, Tensor]) -> int:
    """How many leading tokens all rows of a stream (ids (B, O, S), video_start (B,)) have in common, video excluded.

    Before its video every prompt has the same instruction: it is computed once for all rows.
    """
    ids_RS = stream["ids"].flatten(0, 1)
    same_S = (ids_RS == ids_RS[0]).all(0)
    return min(int(same_S.long().cumprod(0).sum()), int(stream["video_start"].min().clamp(min=0)))
