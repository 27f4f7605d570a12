"""Masked language modelling: which tokens are to be predicted, and what stands in their place (spec lf_vila, 3).

Legend: any shape, usually (B, T).
"""

from __future__ import annotations

import torch
from torch import Tensor

from vidalign.models.lf_vila.mtc import IGNORED
from vidalign.text.wordpiece import WordPiece

MASK_SHARE, RANDOM_SHARE = 0.8, 0.5  # of the chosen tokens [MASK]; of the rest a random word, the others stay


def mask_words(
    ids: Tensor, *, chosen: Tensor, to_mask: Tensor, to_random: Tensor, words: Tensor, mask_id: int
) -> tuple[Tensor, Tensor]:
    """(ids that the model sees, labels: the true id where `chosen`, else IGNORED), from boolean draws."""
    labels = ids.masked_fill(~chosen, IGNORED)
    seen = torch.where(chosen & to_mask, mask_id, ids)
    return torch.where(chosen & ~to_mask & to_random, words, seen), labels


def draw_masking(ids: Tensor, tokenizer: WordPiece, *, probability: float, seed: int) -> tuple[Tensor, Tensor]:
    """`mask_words` with draws that follow from `seed` alone."""
    generator = torch.Generator().manual_seed(seed)
    chosen = (torch.rand(ids.shape, generator=generator) < probability) & tokenizer.maskable(ids)
    to_mask = torch.rand(ids.shape, generator=generator) < MASK_SHARE
    to_random = torch.rand(ids.shape, generator=generator) < RANDOM_SHARE
    words = torch.randint(tokenizer.vocab_size, ids.shape, generator=generator)
    return mask_words(ids, chosen=chosen, to_mask=to_mask, to_random=to_random, words=words, mask_id=tokenizer.mask_id)
