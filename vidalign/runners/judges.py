"""The judges of the registry: JudgeConfig -> a judge (scoring/judge.py)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vidalign.common.errors import unknown
from vidalign.config.document import parse_value
from vidalign.config.keys import fields_of
from vidalign.config.problems import Problem, raise_all
from vidalign.config.values import WrongValue, convert
from vidalign.registry import JUDGES
from vidalign.scoring.judge_chat import ChatJudge, Messages, Reply, ReplyStore
from vidalign.scoring.judge_config import JudgeConfig
from vidalign.scoring.judge_http import HttpChat
from vidalign.scoring.judge_offline import MatchJudge, RecordedJudge
from vidalign.scoring.open_ended import contained, exactly

if TYPE_CHECKING:
    from vidalign.scoring.judge import Judge


def judge_of(words: Sequence[str]) -> Judge:
    """The judge of `--judge NAME [KEY=VALUE ...]`; the keys and their checks are those of task.judge in a config."""
    known, values, problems = fields_of(JudgeConfig), {}, []
    for word in [f"name={words[0]}", *words[1:]]:
        key, equals, text = word.partition("=")
        if key not in known:
            problems.append(Problem("--judge", "", unknown("key", key, known)))
        elif not equals:
            problems.append(Problem("--judge", key, f"write {key}=VALUE."))
        else:
            try:
                values[key] = convert(known[key], parse_value(text), text)
            except (ValueError, WrongValue) as error:
                problems.append(Problem("--judge", key, str(error), text))
    raise_all(problems, "--judge")
    config = JudgeConfig(**values)
    raise_all([Problem("--judge", *told) for told in [*config.problems(), *config.missing_files()]], "--judge")
    return JUDGES.load(config.name)(config)


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
