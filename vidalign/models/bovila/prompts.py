"""Prompt texts of BoViLA and LLaMA-VQA, literally as the official loaders write them (specification bovila, 4.1)."""

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
_INSTRUCTIONS = {
    "vqa": "Instruction: Predict the answer based on the {dialogue}video and question.\n",
    "vaq": "Instruction: Predict the question based on the {dialogue}video and answer.\n",
    "qav": "Instruction: Predict the video based on the {dialogue}question and answer.\n",
}


def instruction(stream: str, *, dialogue_form: bool) -> str:
    """First line of a prompt. VLEP and TVQA always have the dialogue form, even when no dialogue is shown."""
    return _INSTRUCTIONS[stream].format(dialogue="dialogue, " if dialogue_form else "")


@dataclass(frozen=True, kw_only=True)
class Texts:
    """The text blocks of one Sample. `dialogue` is None for benchmarks without dialogue, "" where none is shown."""

    question: str
    options: str
    answer: str
    dialogue: str | None = None


def texts_of(sample: Sample, *, dialogue_rule: str | None) -> Texts:
    """Question, choices, answer stem and dialogue of a Sample."""
    # Kept: capitalize() lower-cases every other letter and comes before strip(), as in all data_* cases.
    question = (sample.question if sample.question is not None else FUTURE_EVENT_QUESTION).capitalize().strip()
    if not question.endswith("?"):
        question += "?"
    choices = "".join(f"{letter(i)} {option}\n" for i, option in enumerate(sample.options))
    dialogue = None
    if dialogue_rule is not None:
        spoken = None if sample.subtitles is None else dialogue_text(dialogue_rule, sample.subtitles, sample.span)
        dialogue = "" if spoken is None else f"Dialogue: {spoken}\n"
    return Texts(
        question=f"Question: {question}\n",
        options=f"Choices: \n{choices}",
        answer="Answer: The answer is ",
        dialogue=dialogue,
    )


def letter(index: int) -> str:
    """Name of an option in prompts: (A), (B) ..."""
    return f"({LETTERS[index]})"
