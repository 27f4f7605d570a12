"""LLaMA's chat tokens as the slow tokenizer of transformers makes them, special tokens written in the text included.

Both settings of its flag `legacy` (spec video_panda, section 4.5); owned here, because releases of transformers differ.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from vidalign.common.errors import CheckpointError
from vidalign.text.tokenizers import LlamaTokenizer

SPECIALS = {"<s>": 1, "</s>": 2, "<unk>": 0}
_SPLIT = re.compile("|".join(f"({re.escape(name)})" for name in SPECIALS))
_BLANK = "▁"


class ChatTokenizer:
    """Text -> ids with the begin token in front; `<s>`, `</s>` and `<unk>` in the text are the special tokens.

    legacy: as before transformers 4.31: a blank is put in front of every piece of text that follows a special token.
    """

    def __init__(self, tokenizer: LlamaTokenizer, *, legacy: bool) -> None:
        self.tokenizer, self.legacy = tokenizer, legacy
        self.bos_id, self.eos_id = tokenizer.bos_id, tokenizer.eos_id
        self.vocab_size = tokenizer.vocab_size

    def encode(self, text: str) -> list[int]:
        """Ids of `text`."""
        if not self.legacy:
            text = _BLANK + text.replace(_BLANK, " ")
        ids = [self.bos_id]
        for chunk in filter(None, _SPLIT.split(text)):
            if chunk in SPECIALS:
                ids.append(SPECIALS[chunk])
            else:
                ids += self.tokenizer.encode(chunk) if self.legacy else self._continued(chunk)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids` without special tokens, and without ids for which there is no piece (a larger token table)."""
        known = (one for one in ids if one not in SPECIALS.values() and one < self.vocab_size)
        return self.tokenizer.decode(list(known))

    def _continued(self, chunk: str) -> list[int]:
        """A chunk that begins the text (marked by "▁") or follows a special token: there without a blank of its own."""
        if chunk.startswith(_BLANK):
            return self.tokenizer.encode(chunk[1:])
        pieces = self.tokenizer.pieces(chunk)
        if not chunk.startswith(" ") and pieces[:1] and pieces[0].startswith(_BLANK):
            pieces = ([pieces[0][1:]] if len(pieces[0]) > 1 else []) + pieces[1:]
        return [self.tokenizer.piece_id(piece) for piece in pieces]


def legacy_of(folder: Path | None) -> bool:
    """The flag in a folder's tokenizer_config.json; transformers' default, True, where there is none."""
    path = None if folder is None else folder / "tokenizer_config.json"
    if path is None or not path.is_file():
        return True
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")).get("legacy", True))
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: not a tokenizer's settings: {error}") from error
