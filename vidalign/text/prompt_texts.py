"""Text blocks of multiple-choice prompts, literally as the loaders of Flipped-VQA, BoViLA and TOPA write them.

Specifications bovila and topa, section 4.1.
"""

from __future__ import annotations

import string
from dataclasses import dataclass

from vidalign.common.sample import Sample
from vidalign.text.dialogue import dialogue_text

LETTERS = string.ascii_uppercase
# VLEP rows have no question.
FUTURE_EVENT_QUESTION = "Which event is more likely to happen right after?"
QUESTION_MARK = "Question:"
VIDEO_MARK = "Video:"


@dataclass(frozen=True, kw_only=True)
class Texts:
    """The text blocks of one Sample. `dialogue` is None for benchmarks without dialogue, "" where none is shown."""

    question: str
    options: str
    answer: str
    dialogue: str | None = None


def texts_of(
    sample: Sample, *, dialogue_rule: str | None, answer_stem: str, endings: tuple[str, ...] = ("?",)
) -> Texts:
    """Question, choices, answer stem and dialogue of a Sample. A question without one of the endings gets a "?"."""
    # Kept: capitalize() lower-cases every other letter and comes before strip(), as in all dataset cases.
    question = (sample.question if sample.question is not None else FUTURE_EVENT_QUESTION).capitalize().strip()
    if not question.endswith(endings):
        question += "?"
    choices = "".join(f"{letter(i)} {option}\n" for i, option in enumerate(sample.options))
    dialogue = None
    if dialogue_rule is not None:
        spoken = None if sample.subtitles is None else dialogue_text(dialogue_rule, sample.subtitles, sample.span)
        dialogue = "" if spoken is None else f"Dialogue: {spoken}\n"
    return Texts(
        question=f"Question: {question}\n",
        options=f"Choices: \n{choices}",
        answer=answer_stem,
        dialogue=dialogue,
    )


def letter(index: int) -> str:
    """Name of an option in prompts: (A), (B) ..."""
    return f"({LETTERS[index]})"
