"""Textual videos (TOPA, arXiv 2405.13911): several captions per frame, whose features become the frame's.

Shape letters: R caption features of one textual video, F its frames, E width of a feature.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vidalign.common.errors import MediaError

if TYPE_CHECKING:
    from torch import Tensor


def fuse_captions(features_RE: Tensor, counts: Sequence[int]) -> Tensor:
    """Frame n owns the next counts[n] rows: rows normalised, averaged per frame, normalised again -> (F, E).

    Kept: in the type the features are stored in; half stays half. [dataset_textvid_train]
    MediaError when the counts do not add up to the rows. [noise_and_fusion]
    """
    import torch
    import torch.nn.functional as F

    if sum(counts) != len(features_RE) or min(counts, default=0) < 1:
        raise MediaError(f"{len(features_RE)} caption features for frames with {list(counts)} captions")
    rows_RE = F.normalize(features_RE, dim=-1)
    return F.normalize(torch.stack([frame.mean(0) for frame in rows_RE.split(list(counts))]), dim=-1)
