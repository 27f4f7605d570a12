"""Which positions of a training batch need logits.

Made on the CPU by the collate, so that a step on a GPU never waits for a data-dependent size.

Shape letters: R rows of a stream (B samples x O options), T positions, N supervised positions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def plan_stream(stream: dict[str, Any], *, ignored: int = 0, also: Tensor | None = None) -> dict[str, Tensor]:
    """A stream (labels, and mask where it has one) -> rows_N: flat positions whose logits are needed; target_N: the
    next token there, `ignored` where none is supervised; masked_N: bool, inside the supervised span; sample_N: its row.

    also: flat positions that are needed besides.
    """
    labels_RT = stream["labels"].flatten(0, 1).cpu()
    span_RT = stream["mask"].flatten(0, 1).cpu() > 0 if "mask" in stream else labels_RT != ignored
    next_label = torch.full_like(labels_RT, ignored)
    next_label[:, :-1] = labels_RT[:, 1:]
    next_span = torch.zeros_like(span_RT)
    next_span[:, :-1] = span_RT[:, 1:]
    wanted = (next_span | (next_label != ignored)).flatten()
    if also is not None:
        wanted[also] = True
    rows_N = wanted.nonzero()[:, 0]
    return {
        "rows_N": rows_N,
        "target_N": next_label.flatten()[rows_N],
        "masked_N": next_span.flatten()[rows_N],
        "sample_N": rows_N // labels_RT.shape[1],
    }
