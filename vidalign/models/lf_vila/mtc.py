"""The contrastive losses of LF-VILA: global, and Multimodal Temporal Contrastive (MTC).

arXiv 2210.06031, section 3.4; specification lf_vila, section 3.
Legend: B samples (of all processes), M clips or sentences of a sample, D width, K keys, V values, C candidates.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED = -100


@dataclass(frozen=True)
class MTCSizes:
    """Keys and values drawn per sample, and candidates from other samples."""

    num_key: int = 2
    num_value: int = 2
    num_other_neg: int = 3


def global_contrastive_loss(video_BD: Tensor, text_BD: Tensor, *, temperature: float) -> Tensor:
    """Both directions of the contrastive loss over normalised features, summed."""
    logits_BB = video_BD @ text_BD.t() / temperature
    truth = torch.arange(len(logits_BB), device=logits_BB.device)
    return F.cross_entropy(logits_BB, truth) + F.cross_entropy(logits_BB.t(), truth)


def draw_orders(seed: int, clips: int) -> Tensor:
    """(3, M): the orders of one sample from which keys, values and the element for other samples are taken."""
    draw = random.Random(seed)
    return torch.tensor([draw.sample(range(clips), clips) for _ in range(3)])


def mtc_labels(keys_BK: Tensor, values_BV: Tensor) -> Tensor:
    """(B, K): which value is nearest in time to each key; IGNORED where the first and the last are equally far."""
    distance_BKV = (values_BV[:, None] - keys_BK[..., None]).abs()
    labels_BK = distance_BKV.argmin(dim=-1)
    return labels_BK.masked_fill(distance_BKV[..., 0] == distance_BKV[..., -1], IGNORED)


def mtc_loss(
    video_BMD: Tensor, text_BMD: Tensor, orders_B3M: Tensor, *, sizes: MTCSizes, temperature: float
) -> tuple[Tensor, Tensor]:
    """(loss over both directions, labels (B * K,)); features are normalised, orders as from `draw_orders`.

    NaN when every key is ignored.
    """
    keys_BK = orders_B3M[:, 0, : sizes.num_key]
    values_BV = orders_B3M[:, 1, : sizes.num_value]
    other_B = orders_B3M[:, 2, 0]
    labels_N = mtc_labels(keys_BK, values_BV).flatten()
    losses = [
        _one_direction(key_side, value_side, keys_BK, values_BV, other_B, labels_N, sizes, temperature)
        for key_side, value_side in ((text_BMD, video_BMD), (video_BMD, text_BMD))
    ]
    return losses[0] + losses[1], labels_N


def _one_direction(
    key_side_BMD: Tensor,
    value_side_BMD: Tensor,
    keys_BK: Tensor,
    values_BV: Tensor,
    other_B: Tensor,
    labels_N: Tensor,
    sizes: MTCSizes,
    temperature: float,
) -> Tensor:
    rows_B1 = torch.arange(len(keys_BK), device=keys_BK.device)[:, None]
    keys_BKD, values_BVD = key_side_BMD[rows_B1, keys_BK], value_side_BMD[rows_B1, values_BV]
    others_BD = value_side_BMD[rows_B1[:, 0], other_B]
    # Kept: the first "other" is the sample's own element, and may be the right answer. [losses]
    extra = [others_BD.roll(shift, dims=0)[:, None] for shift in range(sizes.num_other_neg)]
    candidates_BCD = torch.cat([values_BVD, *extra], dim=1)
    logits_BKC = keys_BKD @ candidates_BCD.transpose(1, 2) / temperature
    return F.cross_entropy(logits_BKC.flatten(0, 1), labels_N, ignore_index=IGNORED)
