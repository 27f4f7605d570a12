"""Choosing the option that is most like what the model answers by itself.

The paper (arXiv 2405.13911) reports a similarity-based choice without code or formula at hand. Ours: the answer is
written greedily to the open-ended question; texts are compared by the cosine of the mean of their token embeddings, in
the frozen LM's own table, so that no further model is needed.

Shape letters: T tokens, V vocabulary, D width, O options.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def similarity(table_VD: Tensor, answer_T: Tensor, options: Sequence[Tensor]) -> Tensor:
    """Ids of the answer and of each option -> cosines (O,) float32; 0 for an empty text."""
    texts = torch.stack([_mean(table_VD, ids_T) for ids_T in (answer_T, *options)])
    unit = F.normalize(texts, dim=-1)
    return unit[1:] @ unit[0]


def _mean(table_VD: Tensor, ids_T: Tensor) -> Tensor:
    return table_VD[ids_T].float().mean(0) if len(ids_T) else table_VD.new_zeros(table_VD.shape[1]).float()
