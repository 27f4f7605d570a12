"""The whitespace tokenizer behind the T5 ids of ViLA's cases, for those that hold texts and not their ids.

It stands for no published tokenizer: words are hashed, the letters A to E have T5's real ids.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

END, RESERVED = 1, 5
LETTERS = {"A": 71, "B": 272, "C": 205, "D": 309, "E": 262, "Option": 31}


class ToyTokens:
    """`words` overrides ids of single words."""

    def __init__(self, vocab_size: int, words: Mapping[str, int]) -> None:
        self.vocab_size, self.own = vocab_size, {**LETTERS, **words}

    def ids(self, text: str) -> list[int]:
        """Without the end."""
        hashed = [RESERVED + zlib.crc32(word.encode()) % (self.vocab_size - RESERVED) for word in text.split()]
        return [self.own.get(word, one) for word, one in zip(text.split(), hashed, strict=True)]

    def rows(self, texts: Sequence[str], *, max_length: int, pad: int = 0) -> tuple[Tensor, Tensor]:
        """(ids, mask) with the end, cut on the right."""
        rows = [[*self.ids(text)[: max_length - 1], END] for text in texts]
        return pad_rows(rows, pad=pad)

    def prefixes(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """(ids, mask) without the end."""
        return pad_rows([self.ids(text) for text in texts], pad=0)


def pad_rows(rows: Sequence[list[int]], *, pad: int) -> tuple[Tensor, Tensor]:
    """Rows of one length, and which of their places are real."""
    length = max(map(len, rows))
    ids = torch.tensor([row + [pad] * (length - len(row)) for row in rows])
    return ids, torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
