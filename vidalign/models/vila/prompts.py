"""ViLA's and SeViLA's prompts, word for word (specification vila, section 4.1). No text processor is applied."""

from __future__ import annotations

import re
from collections.abc import Sequence

LETTERS = "ABCDE"
QA_END = "Considering the information presented in the frame, select the correct answer from the options."
LOC_END = "Does the information within the frame provide the necessary details to accurately answer the given question?"
VLEP_START = "Upon observing the provided frames, what is the most probable subsequent event?"
VLEP_LOC_END = "Does the information within the frame provide the necessary details to predict next event?"


def option_texts(options: Sequence[str]) -> str:
    """`Option A: first Option B: second`."""
    return " ".join(f"Option {letter}: {text}" for letter, text in zip(LETTERS, options, strict=False))


def qa_prompt(question: str, options: Sequence[str]) -> str:
    """What the answerer reads."""
    return f"Question: {question} {option_texts(options)} {QA_END}"


def loc_prompt(question: str, options: Sequence[str]) -> str:
    """What SeViLA's localizer reads beside each frame; the blank before the bracket is official."""
    return f"Question: {question} Options: ({' '.join(options)} ) {LOC_END}"


def vlep_prompt(options: Sequence[str]) -> str:
    """VLEP has no question of its own."""
    return f"{VLEP_START} {option_texts(options)}"


def vlep_loc_prompt(options: Sequence[str]) -> str:
    """VLEP, for the localizer."""
    return f"{vlep_prompt(options)} {VLEP_LOC_END}"


def moment_prompt(query: str) -> str:
    """QVHighlights, for the localizer; a full stop is added where there is none."""
    sentence = query if query.endswith(".") else f"{query}."
    return f"Question: {sentence} Option A: yes. Option B: no. {LOC_END}"


def target(answer_idx: int) -> str:
    """`Option C`."""
    return f"Option {LETTERS[answer_idx]}"


def answer_index(text: str) -> int:
    """`Option C` -> 2."""
    return LETTERS.index(text[-1])


def moment_target(seconds: Sequence[float], windows: Sequence[Sequence[float]]) -> str:
    """`no_yes_yes_no`: whether each frame's time lies in a relevant window, ends included."""
    return "_".join("yes" if any(start <= t <= end for start, end in windows) else "no" for t in seconds)


def cleaned(text: str, *, max_words: int = 120) -> str:
    """LAVIS' `blip_question`: lower case, some punctuation gone, at most so many words. [prompts]

    The official configs name it and the official loader never applies it.
    """
    words = re.sub(r"([.!\"()*#:;~])", "", text.lower()).rstrip(" ").split(" ")
    return " ".join(words[:max_words])


def asked(question: str) -> str:
    """A NExT-QA question as the official preprocessing writes it."""
    return f"{question}?"


def ended(option: str) -> str:
    """A NExT-QA option as the official preprocessing writes it."""
    return f"{option}."
