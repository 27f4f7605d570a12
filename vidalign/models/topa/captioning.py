"""Prompts of TOPA's generating demos, and the caption in what comes back (official notebooks)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vidalign.text.prompt_texts import letter


@dataclass(frozen=True, kw_only=True)
class Demo:
    """One generating benchmark. before, after: the prompt around the video rows; no newline stands between.

    lead: the generated part begins after its first occurrence, less `dropped`, and ends at the first full stop.
    banned: ids that are never generated (Llama-2's `how` and `How`). memory: project onto the support memory.
    """

    before: str
    after: str
    steps: int
    lead: str
    dropped: str = ""
    banned: tuple[int, ...] = ()
    memory: bool = True


DEMOS = {
    "msrvtt": Demo(
        before="Instruction: Predict the answer based on the video and question.\nVideo:",
        after="\nQuestion: Can you describe this video?\nAnswer: It is a video of",
        steps=10,
        lead="It is a video of",
        banned=(920, 1128),
    ),
    # Kept: Llama-3's wording with a Llama-2 model, and no memory, as the saved demo has it.
    "vatex": Demo(
        before="Instruction: Generate a dense description for the video.\nVideo:",
        after="\nVideo Caption: The video shows",
        steps=15,
        lead="Video Caption: ",
        dropped="The video shows",
        memory=False,
    ),
}


def caption_of(text: str, demo: Demo) -> str:
    """The caption in a decoded text; "" when the lead is not in it. [small_functions]"""
    made = text.partition(demo.lead)[2].split(demo.lead)[0]
    if demo.dropped:
        made = made.replace(demo.dropped, "")
    return made.strip().partition(".")[0]


def question_block(question: str, options: Sequence[str]) -> str:
    """MVBench's question and choices; the text is taken as it is. [small_functions]"""
    choices = "".join(f"{letter(index)} {option}\n" for index, option in enumerate(options))
    return f"Question: {question}\nChoices: \n{choices}"
