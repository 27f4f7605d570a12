"""QFormer-Distiller: the student's few visual tokens imitate the teacher's many (ViLA, arXiv 2312.08367, section 3.3).

Specification vila, sections 2.7 and 3.
Shape letters: B samples, D width, S student tokens, T teacher tokens.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class TokenDecoder(nn.Sequential):
    """(B, S, D) -> (B, T, D): a linear map over the tokens of each channel, then LayerNorm over the tokens."""

    def __init__(self, student_tokens: int, teacher_tokens: int) -> None:
        super().__init__(nn.Linear(student_tokens, teacher_tokens), nn.LayerNorm(teacher_tokens))

    def forward(self, tokens_BSD: Tensor) -> Tensor:
        """(B, S, D) -> (B, T, D)."""
        return super().forward(tokens_BSD.mT).mT


def decoded_distance(teacher_BTD: Tensor, decoded_BTD: Tensor) -> Tensor:
    """Mean squared distance of every token, in float32."""
    return F.mse_loss(decoded_BTD.float(), teacher_BTD.float())


def mean_distance(teacher_BTD: Tensor, student_BSD: Tensor) -> Tensor:
    """Mean squared distance of the two means over tokens: the earlier form, without a decoder."""
    return F.mse_loss(student_BSD.float().mean(dim=1), teacher_BTD.float().mean(dim=1))
