"""The judges of the registry: JudgeConfig -> a judge (scoring/judge.py)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vidalign.scoring.judge_chat import ChatJudge, Messages, Reply, ReplyStore
from vidalign.scoring.judge_http import HttpChat
from vidalign.scoring.judge_offline import MatchJudge, RecordedJudge
from vidalign.scoring.open_ended import contained, exactly

if TYPE_CHECKING:
    from vidalign.scoring.judge_config import JudgeConfig


def http(config: JudgeConfig) -> ChatJudge:
    """A chat model behind an OpenAI-compatible endpoint."""
    ask = HttpChat(config.url, config.model, key_env=config.key_env, timeout_seconds=config.timeout_seconds)
    return ChatJudge(
        config.model,
        ask,
        store=store_of(config, config.model),
        attempts=config.attempts,
        parallel=config.parallel,
        lenient=config.lenient,
    )


def local(config: JudgeConfig) -> ChatJudge:
    """A chat model on this machine. It answers greedily, so an unreadable reply is not asked for again."""
    from vidalign.backbones.chat_model import LocalChat

    assert config.path is not None, "checked with the config"
    name = Path(config.path).name
    chat = LocalChat(config.path)

    def ask(messages: Messages) -> Reply:
        return Reply(chat(messages), name)

    return ChatJudge(name, ask, store=store_of(config, name), attempts=1, lenient=config.lenient)


def recorded(config: JudgeConfig) -> RecordedJudge:
    """What a judge said earlier."""
    assert config.path is not None, "checked with the config"
    return RecordedJudge(config.path, lenient=config.lenient)


def exact(config: JudgeConfig) -> MatchJudge:
    """The same words as the reference answer."""
    return MatchJudge("exact", exactly)


def contains(config: JudgeConfig) -> MatchJudge:
    """The reference answer's words, somewhere in what was said."""
    return MatchJudge("contained", contained)


def store_of(config: JudgeConfig, name: str) -> ReplyStore:
    """The file of a model's replies."""
    safe = "".join(letter if letter.isalnum() or letter in "-._" else "_" for letter in name)
    return ReplyStore(Path(config.store) / f"{safe}.jsonl")
