"""Prompts with which TOPA speaks, and the caption or answer in what comes back.

Captions and MVBench: the official notebooks. Open-ended questions: the wording that pre-alignment trains, no notebook
has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vidalign.text.prompt_texts import letter


@dataclass(frozen=True, kw_only=True)
class Demo:
    """One way of speaking. before, after: the prompt around the video rows; no newline stands between.

    steps: most tokens, where the run does not say. lead: the generated part begins after its first occurrence, less
    `dropped`, and ends at the first `stop`; without a stop all of it counts. banned: words that are never generated.
    ends: the end token ends the text too. newline: the token for it stands between video and text. memory: project onto
    the support memory.
    """

    before: str
    after: str
    steps: int
    lead: str
    dropped: str = ""
    stop: str | None = "."
    banned: tuple[str, ...] = ()
    # Kept: the demos go on after an end token; decoding leaves it out and keeps what follows.
    ends: bool = False
    newline: bool = False
    memory: bool = True


DEMOS = {
    "msrvtt": Demo(
        before="Instruction: Predict the answer based on the video and question.\nVideo:",
        after="\nQuestion: Can you describe this video?\nAnswer: It is a video of",
        steps=10,
        lead="It is a video of",
        banned=("how", "How"),
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
    "mvbench": Demo(
        before="Instruction: Choose the correct answer based on the video and question.\nVideo:",
        after="\n{block}Answer: The correct choice is (",
        steps=2,
        lead="The correct choice is ",
        stop=None,
    ),
    "question": Demo(
        before="Instruction: Predict the answer based on the video and question.\nVideo:",
        after="{question}Answer:",
        steps=20,
        lead="Answer:",
        stop="\n",
        ends=True,
        newline=True,
    ),
}
CAPTION_PROMPTS = ("msrvtt", "vatex")


def demo_of(task: str, *, dataset: str, caption_prompt: str | None = None) -> Demo:
    """How the Samples of a benchmark are asked: `task` is theirs. Captions of other sets take MSR-VTT's wording."""
    if task == "mc_qa":
        return DEMOS["mvbench"]
    if task == "open_qa":
        return DEMOS["question"]
    return DEMOS[caption_prompt or (dataset if dataset in CAPTION_PROMPTS else "msrvtt")]


def spoken(text: str, demo: Demo) -> str:
    """What was said after the prompt, in the decoded text of prompt and continuation; "" when the lead is missing."""
    if demo.stop == ".":
        return caption_of(text, demo)
    said = text.partition(demo.lead)[2]
    return (said if demo.stop is None else said.lstrip().partition(demo.stop)[0]).strip()


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
