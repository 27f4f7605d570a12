"""Tokenizers of FLAN-T5 and BERT through the package `tokenizers`, and the small ones that `tiny` models train.

transformers' wrappers are not used: this needs ids, truncation on the left and padding, nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidalign.common.errors import CheckpointError
from vidalign.common.io import atomic_write, content_key

if TYPE_CHECKING:
    from torch import Tensor

# kind -> (tokens in front, tokens behind, padding)
SPECIALS = {"t5": ((), ("</s>",), "<pad>"), "bert": (("[CLS]",), ("[SEP]",), "[PAD]")}
_TINY_SPECIALS = {"t5": ("<pad>", "</s>", "<unk>"), "bert": ("[PAD]", "[UNK]", "[CLS]", "[SEP]")}
TINY_PIECES = 768


class FastTokenizer:
    """A `tokenizer.json` (or BERT's vocab.txt). Travels to loader workers as a path and opens itself there."""

    def __init__(self, path: Path | str, *, kind: str) -> None:
        assert kind in SPECIALS, f"kind {kind!r}"
        self.path, self.kind = Path(path), kind
        front, behind, pad = SPECIALS[kind]
        self.front, self.behind = [self._id(name) for name in front], [self._id(name) for name in behind]
        self.pad_id = self._id(pad)

    @cached_property
    def _tokenizer(self) -> Any:
        import tokenizers

        try:
            text = self.path.read_text(encoding="utf-8")
            if self.path.suffix == ".txt":
                words = {word: index for index, word in enumerate(text.splitlines())}
                return tokenizers.BertWordPieceTokenizer(words, lowercase=True)
            # Looked at first: the package's own error for another JSON file is a bare Exception.
            if "model" not in json.loads(text):
                raise CheckpointError(f"{self.path}: not a tokenizer.json: it has no entry 'model'")
        except (OSError, ValueError, TypeError) as error:
            raise CheckpointError(f"{self.path}: not a tokenizer file: {str(error).splitlines()[0]}") from error
        return tokenizers.Tokenizer.from_str(text)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_tokenizer"}

    @property
    def vocab_size(self) -> int:
        """Ids lie below it."""
        return self._tokenizer.get_vocab_size()

    def words(self, text: str) -> list[int]:
        """Ids of `text` alone, without the tokens around it."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def encode(self, text: str, *, max_length: int | None = None, cut: str = "left") -> list[int]:
        """Ids with the tokens around them; longer texts lose their beginning ("left") or their end ("right")."""
        ids, around = self.words(text), len(self.front) + len(self.behind)
        if max_length is not None and len(ids) > max_length - around:
            room = max(max_length - around, 0)
            ids = ids[len(ids) - room :] if cut == "left" else ids[:room]
        return [*self.front, *ids, *self.behind]

    def one_id(self, word: str) -> int:
        """The id of a word that is one piece; the first one where it is several."""
        return self.words(word)[0]

    def pad(self, rows: Sequence[Sequence[int]], *, value: int | None = None) -> tuple[Tensor, Tensor]:
        """(ids, mask), both (B, L) int64, padded on the right to the longest row."""
        import torch

        length = max(len(row) for row in rows)
        filler = self.pad_id if value is None else value
        ids = torch.tensor([[*row, *[filler] * (length - len(row))] for row in rows], dtype=torch.int64)
        mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows], dtype=torch.int64)
        return ids, mask

    def _id(self, token: str) -> int:
        index = self._tokenizer.token_to_id(token)
        if index is None:
            raise CheckpointError(f"{self.path}: it has no token {token!r}, so it is no tokenizer of {self.kind}")
        return index


def find_tokenizer(*places: Path | str | None, kind: str) -> FastTokenizer:
    """The first tokenizer among files and folders (tokenizer.json, for BERT vocab.txt too), or CheckpointError."""
    names = ("tokenizer.json", "vocab.txt") if kind == "bert" else ("tokenizer.json",)
    given = [Path(place) for place in places if place is not None]
    for place in given:
        found = [place] if place.is_file() else [place / name for name in names if (place / name).is_file()]
        if found:
            return FastTokenizer(found[0], kind=kind)
    where = ", ".join(map(str, given)) or "no place was given"
    raise CheckpointError(f"no {' or '.join(names)} of {kind} found ({where}); name the file in model.weights")


def tiny_text_tokenizer(cache_dir: Path | str, *, kind: str, extra: Sequence[str] = ()) -> FastTokenizer:
    """A byte-pair tokenizer of at most 768 pieces, trained once into `cache_dir`; `extra`: further texts to learn."""
    from vidalign.text.tiny_corpus import sentences

    lines = [*sentences(), *extra]
    path = Path(cache_dir) / f"tiny_{kind}_{content_key(lines, TINY_PIECES)}.json"
    if not path.is_file():
        train_fast_tokenizer(path, lines, kind=kind, pieces=TINY_PIECES)
    return FastTokenizer(path, kind=kind)


def train_fast_tokenizer(path: Path, lines: Sequence[str], *, kind: str, pieces: int) -> None:
    """Byte pairs over words with their leading blank; every printable ASCII character is a piece. Deterministic."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    specials = list(_TINY_SPECIALS[kind])
    tokenizer = Tokenizer(models.BPE(unk_token=next(name for name in specials if "unk" in name.lower())))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=pieces,
        special_tokens=specials,
        initial_alphabet=[chr(code) for code in range(33, 127)],
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    with atomic_write(path) as file:
        file.write(tokenizer.to_str())
