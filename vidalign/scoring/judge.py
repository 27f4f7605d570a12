"""Judging open-ended answers: items, verdicts, reading a judge's replies, and the summary over them.

The reply rule and the summary are those of the official evaluation (Video-ChatGPT and its followers; specification
video_panda, section 6.2). A judge is a plug-in, see the registry `judges`; its identity is part of the metric's name,
because scores of different judges differ by several points.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vidalign.common.io import content_key
from vidalign.scoring.intervals import wilson
from vidalign.scoring.judge_prompts import PROTOCOLS

OFFICIAL_JUDGE = "gpt-3.5-turbo"


@dataclass(frozen=True)
class Item:
    """One thing to judge. fields: q, a and pred (strings), or q1, q2, a, pred1 and pred2 (protocol consistency)."""

    uid: str
    fields: Mapping[str, str]
    protocol: str = "open_ended"

    @property
    def messages(self) -> list[dict[str, str]]:
        """What a chat model is asked."""
        return PROTOCOLS[self.protocol].messages(self.fields)


@dataclass(frozen=True)
class Verdict:
    """What a judge said of one item. correct: None where the protocol asks for no yes or no. score: 0 to 5 as told.

    Both None: the reply could not be read, or there was none (`reply` None).
    """

    uid: str
    correct: bool | None = None
    score: float | None = None
    reply: str | None = None

    @property
    def parsed(self) -> bool:
        """Whether it says anything."""
        return self.correct is not None or self.score is not None


class Judge(Protocol):
    """name: short and stable, part of the metric's name (e.g. "exact", "gpt-3.5-turbo-0125")."""

    name: str

    def judge(self, items: Sequence[Item]) -> list[Verdict]:
        """One verdict per item, in order."""
        ...


def literal(reply: str) -> tuple[Any] | None:
    """(value,) of a reply that is one Python literal and nothing else; None for any other reply.

    Kept: no search for a dictionary inside other text; published scores were made so. [judge_parsing]
    """
    try:
        return (ast.literal_eval(reply.strip()),)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def parse_reply(reply: str) -> dict[str, Any] | None:
    """The dictionary that a reply consists of; None for any other reply."""
    value = literal(reply)
    return value[0] if value is not None and isinstance(value[0], dict) else None


def lenient_reply(reply: str) -> dict[str, Any] | None:
    """`parse_reply`, or else the first dictionary inside the reply (scores are not the published kind then)."""
    found = parse_reply(reply)
    start = reply.find("{")
    end = reply.find("}", start)
    return found if found is not None or start < 0 or end < 0 else parse_reply(reply[start : end + 1])


def stored_reply(reply: str, fields: Mapping[str, str]) -> list[Any] | None:
    """What the official code keeps of a reply: its value and the item; None where it asks again. [judge_parsing]"""
    value = literal(reply)
    return None if value is None else [value[0], dict(fields)]


def read_verdict(uid: str, reply: str | None, *, protocol: str, lenient: bool = False) -> Verdict:
    """The verdict of a reply under a protocol; unparsed where it lacks what the protocol asks for."""
    value = None if reply is None else (lenient_reply if lenient else parse_reply)(reply)
    if value is None:
        return Verdict(uid, reply=reply)
    score = _whole(value.get("score"))
    if score is None:
        return Verdict(uid, reply=reply)
    if not PROTOCOLS[protocol].verdict:
        return Verdict(uid, score=score, reply=reply)
    said = str(value.get("pred", "")).lower()
    # Kept: "yes" anywhere counts first, then "no" anywhere. [judge_parsing]
    correct = True if "yes" in said else (False if "no" in said else None)
    return Verdict(uid, correct=correct, score=score, reply=reply)


def verdict_of(item: Item, replies: Sequence[str], *, lenient: bool = False) -> Verdict:
    """Of the first reply that can be read, of the last one where none can, unparsed where there is none."""
    verdicts = [read_verdict(item.uid, one, protocol=item.protocol, lenient=lenient) for one in replies]
    read = (verdict for verdict in verdicts if verdict.parsed)
    return next(read, verdicts[-1] if verdicts else Verdict(item.uid))


def reply_key(model: str, item: Item) -> str:
    """Content key of a judge model and everything it is told about an item."""
    return content_key(model, item.messages)


def _whole(value: Any) -> float | None:
    """Kept: int() cuts 4.8 down to 4. [judge_parsing]"""
    try:
        return float(int(value))
    except (TypeError, ValueError, OverflowError):
        return None


def official_summary(stored: Iterable[Sequence[Mapping[str, Any]]]) -> dict[str, float]:
    """The official summary over stored replies: counts of yes and no, accuracy yes/(yes + no), mean of int(score)."""
    verdicts = [read_verdict("", repr(dict(reply[0])), protocol="open_ended") for reply in stored]
    yes = sum(verdict.correct is True for verdict in verdicts)
    no = sum(verdict.correct is False for verdict in verdicts)
    scores = [verdict.score for verdict in verdicts if verdict.score is not None]
    return {
        "Yes count": float(yes),
        "No count": float(no),
        "Accuracy": yes / (yes + no) if yes + no else float("nan"),
        "Average score": sum(scores) / len(scores) if scores else float("nan"),
    }


def judge_metrics(
    judge: str, verdicts: Sequence[Verdict], *, protocol: str = "open_ended", asked: int | None = None
) -> dict[str, float | int]:
    """Metrics under names that carry the judge's: accuracy_<judge> with its 95 % interval (_low, _high), score_<judge>,
    unparsed_<judge>.

    asked: how many questions there were, the failed ones too; accuracy_all_<judge> is the share of yes among them.
    Unparsed replies are counted and left out of accuracy and score, as the official numbers leave them out. For the
    protocols without yes and no: <protocol>_<judge>, their mean score.
    """
    scores = [verdict.score for verdict in verdicts if verdict.score is not None]
    mean = sum(scores) / len(scores) if scores else float("nan")
    unparsed = sum(not verdict.parsed for verdict in verdicts)
    if not PROTOCOLS[protocol].verdict:
        return {f"{protocol}_{judge}": mean, f"{protocol}_unparsed_{judge}": unparsed}
    told = [verdict.correct for verdict in verdicts if verdict.correct is not None]
    metrics: dict[str, float | int] = {f"accuracy_{judge}": sum(told) / len(told) if told else float("nan")}
    if asked:
        metrics[f"accuracy_all_{judge}"] = sum(told) / asked
    if told:
        ends = wilson(sum(told), len(told))
        metrics |= dict(zip((f"accuracy_{judge}_low", f"accuracy_{judge}_high"), ends, strict=True))
    if scores:
        metrics[f"score_{judge}"] = mean
    return metrics | {f"judged_{judge}": len(verdicts) - unparsed, f"unparsed_{judge}": unparsed}
