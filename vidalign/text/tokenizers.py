"""LLaMA tokenizers, called directly, and the small one that `tiny` models train for themselves.

LLaMA-1 and -2 files are SentencePiece models, LLaMA-3 files are tiktoken rank tables; both are named `tokenizer.model`,
so `load_tokenizer` looks inside. The transformers wrappers are not used: their LLaMA ids differ from sentencepiece's.
"""

from __future__ import annotations

import base64
import re
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from vidalign.common.errors import CheckpointError, ConfigError
from vidalign.common.io import atomic_write, content_key

_RANK_LINE = re.compile(rb"[A-Za-z0-9+/]+={0,2} \d+\r?\n")
# LLaMA-3's word pattern and number of special tokens (llama-models, models/llama3/tokenizer.py).
_LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_LLAMA3_SPECIALS = 256


class Tokenizer(Protocol):
    """What the processors need. `encode` adds neither begin nor end; ids lie in [0, vocab_size)."""

    bos_id: int
    eos_id: int
    newline_id: int
    vocab_size: int

    def encode(self, text: str) -> list[int]:
        """Ids of `text`."""
        ...

    def decode(self, ids: list[int]) -> str:
        """Text of `ids`."""
        ...

    def word_id(self, word: str, *, initial: bool) -> int:
        """Id of the one piece that is `word`; `initial`: with the blank that starts a word."""
        ...


class LlamaTokenizer:
    """SentencePiece model of LLaMA-1 and -2. Travels to loader workers as a path and opens itself there."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.bos_id = self._processor.bos_id()
        self.eos_id = self._processor.eos_id()
        self.vocab_size = self._processor.vocab_size()
        if min(self.bos_id, self.eos_id) < 0:
            raise CheckpointError(f"{self.path}: this SentencePiece model has no begin or end token; LLaMA's has both")
        byte = self._processor.piece_to_id("<0x0A>")
        if byte == self._processor.unk_id():
            # Not a LLaMA model: newlines may be normalised away, then they are "unknown".
            byte = (self.encode("\n") or [byte])[-1]
        self.newline_id = byte

    @cached_property
    def _processor(self) -> Any:
        import sentencepiece

        try:
            return sentencepiece.SentencePieceProcessor(model_file=str(self.path))
        except (OSError, RuntimeError) as error:
            raise CheckpointError(f"{self.path}: not a SentencePiece model ({error})") from error

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_processor"}

    def encode(self, text: str) -> list[int]:
        """Ids of `text`; a blank is put in front of the first word, as in training."""
        return self._processor.encode(text)

    def decode(self, ids: list[int]) -> str:
        """Text of `ids`."""
        return self._processor.decode(ids)

    def pieces(self, text: str) -> list[str]:
        """The pieces of `text` as they are written in the model."""
        return self._processor.encode(text, out_type=str)

    def piece_id(self, piece: str) -> int:
        """Id of a piece; that of the unknown piece where there is none."""
        return self._processor.piece_to_id(piece)

    def word_id(self, word: str, *, initial: bool) -> int:
        """Id of the piece `word`, with "▁" in front when `initial`; CheckpointError when there is no such piece."""
        piece = f"▁{word}" if initial else word
        index = self._processor.piece_to_id(piece)
        if index == self._processor.unk_id():
            raise CheckpointError(f"{self.path}: no piece {piece!r}; official positions need the real LLaMA tokenizer")
        return index


class Llama3Tokenizer:
    """Tiktoken rank file of LLaMA-3: ranks, then 256 special tokens (the first two begin and end a text)."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        ranks = len(self._encoding._mergeable_ranks)
        self.bos_id, self.eos_id = ranks, ranks + 1
        self.vocab_size = ranks + _LLAMA3_SPECIALS
        self.newline_id = self.encode("\n")[0]

    @cached_property
    def _encoding(self) -> Any:
        try:
            import tiktoken
        except ImportError as error:
            raise CheckpointError(
                f"{self.path} is a LLaMA-3 tokenizer, which needs the package tiktoken: pip install tiktoken"
            ) from error
        ranks = _read_ranks(self.path)
        names = ("<|begin_of_text|>", "<|end_of_text|>")
        names += tuple(f"<|reserved_special_token_{i}|>" for i in range(_LLAMA3_SPECIALS - len(names)))
        specials = {name: len(ranks) + i for i, name in enumerate(names)}
        return tiktoken.Encoding(
            self.path.name, pat_str=_LLAMA3_PATTERN, mergeable_ranks=ranks, special_tokens=specials
        )

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_encoding"}

    def encode(self, text: str) -> list[int]:
        """Ids of `text`; special tokens written in it are plain text."""
        return self._encoding.encode(text, disallowed_special=())

    def decode(self, ids: list[int]) -> str:
        """Text of `ids`."""
        return self._encoding.decode(ids)

    def word_id(self, word: str, *, initial: bool) -> int:
        """Id of `word` as one piece. `initial` changes nothing: at the start of a text LLaMA-3 adds no blank."""
        ids = self.encode(word)
        if len(ids) != 1:
            raise CheckpointError(f"{self.path}: {word!r} is {len(ids)} pieces; official positions need it to be one")
        return ids[0]


def _read_ranks(path: Path) -> dict[bytes, int]:
    ranks = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line:
            continue
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except ValueError as error:
            raise CheckpointError(f"{path}:{number}: not a line of a tiktoken rank file ({error})") from error
    return ranks


def load_tokenizer(path: Path | str) -> LlamaTokenizer | Llama3Tokenizer:
    """Open a tokenizer file, or the `tokenizer.model` in or above a folder; the content decides which kind it is."""
    path = Path(path)
    if path.is_dir():
        candidates = [path / "tokenizer.model", path.parent / "tokenizer.model"]
        found = next((file for file in candidates if file.is_file()), None)
        if found is None:
            extra = " (tokenizer.json is not read: get the original tokenizer.model)"
            hint = extra if (path / "tokenizer.json").is_file() else ""
            raise CheckpointError(f"no tokenizer.model in {path} or above it{hint}; name the file itself")
        path = found
    if not path.is_file():
        raise CheckpointError(f"tokenizer {path} does not exist; LLaMA's file is called tokenizer.model")
    with open(path, "rb") as file:
        first = file.readline(4096)
    return Llama3Tokenizer(path) if _RANK_LINE.fullmatch(first) else LlamaTokenizer(path)


def open_tokenizer(
    path: Path | None, *, cache_dir: Path | str, size: str, pieces: int | None
) -> LlamaTokenizer | Llama3Tokenizer:
    """The tokenizer of a language model of this size; without a file the tiny one is taken (cache_dir).

    ConfigError when it has more pieces than the language model has embeddings (`pieces`, None: unknown).
    """
    tokenizer = tiny_tokenizer(cache_dir) if path is None else load_tokenizer(path)
    if pieces is not None and tokenizer.vocab_size > pieces:
        raise ConfigError(
            f"model.llm.tokenizer: {tokenizer.path} has {tokenizer.vocab_size} pieces, a language model of size "
            f"{size!r} knows {pieces}; give the tokenizer of these weights"
        )
    return tokenizer


def tiny_tokenizer(cache_dir: Path | str) -> LlamaTokenizer:
    """A SentencePiece BPE model of about 500 pieces with byte fallback, trained once into `cache_dir`.

    Deterministic: same package, same pieces. Processes may race for it; each writes the same file atomically.
    """
    from vidalign.text.tiny_corpus import sentences

    lines = sentences()
    path = Path(cache_dir) / f"tiny_tokenizer_{content_key(lines)}.model"
    if not path.is_file():
        train_tokenizer(path, lines, vocab_size=512)
    return LlamaTokenizer(path)


def train_tokenizer(path: Path, lines: list[str], *, vocab_size: int) -> None:
    """Train a SentencePiece BPE model with LLaMA's special tokens and byte fallback, and write it atomically.

    Deterministic. Few lines give fewer pieces than `vocab_size`.
    """
    import io

    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="bpe",
        vocab_size=vocab_size,
        hard_vocab_limit=False,
        byte_fallback=True,
        # As in LLaMA: the text is taken as it is, newlines and runs of blanks included.
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        num_threads=1,
        minloglevel=2,
    )
    with atomic_write(path, "wb") as file:
        file.write(model.getvalue())
