"""Tokenizer files: known ids, content decides the kind, workers can carry them, clear errors."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest

from vidalign.common.errors import CheckpointError
from vidalign.text.tokenizers import Llama3Tokenizer, LlamaTokenizer, load_tokenizer, tiny_tokenizer

ANSWER = "Answer: The answer is "


def test_llama_ids_are_those_of_the_official_prompts(shared: Path) -> None:
    tokenizer = load_tokenizer(shared / "data/tokenizers/llama")
    assert isinstance(tokenizer, LlamaTokenizer)
    assert tokenizer.encode(ANSWER) == [673, 29901, 450, 1234, 338, 29871]
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.newline_id, tokenizer.vocab_size) == (1, 2, 13, 32000)
    assert tokenizer.word_id("Answer", initial=False) == 22550
    assert tokenizer.word_id("Question", initial=True) == 894
    assert tokenizer.word_id("Question", initial=False) == 16492
    assert tokenizer.word_id("Video", initial=False) == 15167


def test_llama3_ids_are_those_of_the_official_prompts(shared: Path) -> None:
    tokenizer = load_tokenizer(shared / "data/tokenizers/llama3/tokenizer.model")
    assert isinstance(tokenizer, Llama3Tokenizer)
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.newline_id) == (128000, 128001, 198)
    assert tokenizer.vocab_size == 128256
    assert tokenizer.word_id("Answer", initial=False) == 16533
    assert tokenizer.word_id("Question", initial=True) == tokenizer.word_id("Question", initial=False) == 14924
    assert tokenizer.word_id("Video", initial=False) == 10955
    text = "Who's there? <|begin_of_text|>\nNobody, 12345."
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert max(tokenizer.encode(text)) < 128000, "special tokens written in a text stay text"


@pytest.mark.parametrize("name", ["llama/tokenizer.model", "llama3/tokenizer.model"])
def test_travels_to_workers(name: str, shared: Path) -> None:
    tokenizer = load_tokenizer(shared / "data/tokenizers" / name)
    data = pickle.dumps(tokenizer)
    assert len(data) < 1000, "only the path travels"
    assert pickle.loads(data).encode(ANSWER) == tokenizer.encode(ANSWER)


def test_tiny_is_small_deterministic_and_complete(tmp_path: Path) -> None:
    first, second = tiny_tokenizer(tmp_path / "a"), tiny_tokenizer(tmp_path / "b")
    assert first.path.read_bytes() == second.path.read_bytes()
    assert 300 < first.vocab_size <= 512
    # Bytes stand in for what was never seen; newlines and runs of blanks survive.
    text = "Question: Où est  le chat?\n(A) 猫\n"
    assert first.decode(first.encode(text)) == text
    assert first.encode("\n")[-1] == first.newline_id
    stamp = first.path.stat().st_mtime_ns
    tiny_tokenizer(tmp_path / "a")
    assert first.path.stat().st_mtime_ns == stamp, "trained once"


def test_folder_and_parent_are_searched(tmp_path: Path) -> None:
    model = tiny_tokenizer(tmp_path).path.rename(tmp_path / "tokenizer.model")
    (tmp_path / "7B").mkdir()
    assert load_tokenizer(tmp_path / "7B").path == model
    assert load_tokenizer(tmp_path).path == model


def test_wrong_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        load_tokenizer(tmp_path / "tokenizer.model")
    with pytest.raises(CheckpointError, match="no tokenizer.model in"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match="tokenizer.json is not read"):
        load_tokenizer(tmp_path)
    junk = tmp_path / "junk.model"
    junk.write_bytes(b"\x0a\x00 nothing of the kind")
    with pytest.raises(CheckpointError, match="not a SentencePiece model"):
        load_tokenizer(junk)
    ranks = tmp_path / "ranks.model"
    ranks.write_bytes(b"IQ== 0\nIg== 1\nthis is no line\n")
    with pytest.raises(CheckpointError, match=r"ranks\.model:3: not a line"):
        load_tokenizer(ranks)


def test_missing_tiktoken_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = tmp_path / "ranks.model"
    ranks.write_bytes(b"IQ== 0\n")
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    with pytest.raises(CheckpointError, match="pip install tiktoken"):
        load_tokenizer(ranks)


def test_words_that_are_no_piece_are_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no piece 'Zebra'"):
        tiny_tokenizer(tmp_path).word_id("Zebra", initial=False)
