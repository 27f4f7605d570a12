"""BERT's WordPiece tokenizer (uncased) from a vocab.txt, and rows of ids for sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidalign.common.errors import ConfigError
from vidalign.common.io import atomic_write, content_key

if TYPE_CHECKING:
    from torch import Tensor

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class WordPiece:
    """Lower-cased text -> ids. Pickles to loader workers; the file is read where it is used first."""

    def __init__(self, path: Path | str, *, lowercase: bool = True) -> None:
        self.path, self.lowercase = Path(path), lowercase
        missing = [word for word in SPECIALS if word not in self._vocab]
        if missing:
            raise ConfigError(
                f"{self.path}: {', '.join(missing)} missing; give bert-base-uncased's vocab.txt (a piece per line)"
            )
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (self._vocab[word] for word in SPECIALS)
        self.vocab_size = len(self._vocab)

    @cached_property
    def _vocab(self) -> dict[str, int]:
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.path}: cannot be read as a vocabulary: {error}") from error
        return {line: number for number, line in enumerate(lines)}

    @cached_property
    def _pieces(self) -> Any:
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

        tokenizer = Tokenizer(models.WordPiece(self._vocab, unk_token="[UNK]", max_input_chars_per_word=100))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=self.lowercase)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.add_special_tokens(list(SPECIALS))
        return tokenizer

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_pieces", "_vocab")}

    def encode(self, text: str) -> list[int]:
        """Ids without [CLS] and [SEP]."""
        return self._pieces.encode(text, add_special_tokens=False).ids

    def rows(self, sentences: Sequence[str], *, count: int, length: int) -> tuple[Tensor, Tensor]:
        """(ids, mask), each (count, length) int64: [CLS] text [SEP] per sentence, cut and padded to `length`.

        Sentences that are lacking are zeros in both.
        """
        import torch

        ids, mask = [], []
        for sentence in sentences[:count]:
            tokens = [self.cls_id, *self.encode(sentence)[: length - 2], self.sep_id]
            padding = length - len(tokens)
            ids.append(tokens + [self.pad_id] * padding)
            mask.append([1] * len(tokens) + [0] * padding)
        lacking = [[0] * length] * (count - len(ids))
        ids, mask = torch.tensor([ids + lacking, mask + lacking]).unbind(0)
        return ids, mask

    def maskable(self, ids: Tensor) -> Tensor:
        """True where a token is text: no [CLS], [SEP], [PAD], [UNK] or [MASK]."""
        import torch

        special = torch.tensor([self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id], device=ids.device)
        return ~torch.isin(ids, special)


def merge_neighbours(sentences: Sequence[str], count: int) -> list[str]:
    """At most `count` texts: the adjacent pair with the fewest characters is joined by a blank until they fit.

    Source: LF-VILA's loaders (specification lf_vila, section 4); of equal pairs the first.
    """
    merged = list(sentences)
    while len(merged) > count:
        lengths = [len(one) + len(two) for one, two in zip(merged, merged[1:], strict=False)]
        first = lengths.index(min(lengths))
        merged[first : first + 2] = [f"{merged[first]} {merged[first + 1]}"]
    return merged


def open_wordpiece(path: str | None, *, cache_dir: Path | str, pieces: int) -> WordPiece:
    """The tokenizer of a text encoder with `pieces` embeddings; without a file the tiny one in `cache_dir`."""
    tokenizer = WordPiece(tiny_vocabulary(cache_dir) if path is None else path)
    if tokenizer.vocab_size > pieces:
        raise ConfigError(
            f"model.tokenizer: {tokenizer.path} has {tokenizer.vocab_size} pieces, the text encoder has {pieces} "
            "embeddings; give the vocabulary of these weights"
        )
    return tokenizer


def tiny_vocabulary(cache_dir: Path | str) -> Path:
    """A vocab.txt with the words of the tiny corpus, every printable ASCII character alone and as a continuation."""
    from vidalign.text.tiny_corpus import sentences

    characters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    words = Counter(word.strip("?.,:()").lower() for line in sentences() for word in line.split())
    frequent = [word for word, _ in sorted(words.items(), key=lambda item: (-item[1], item[0])) if len(word) > 1]
    lines = [*SPECIALS, *characters, *(f"##{one}" for one in characters), *frequent]
    path = Path(cache_dir) / f"tiny_wordpiece_{content_key(lines)}.txt"
    if not path.is_file():
        with atomic_write(path) as file:
            file.write("\n".join(lines) + "\n")
    return path
