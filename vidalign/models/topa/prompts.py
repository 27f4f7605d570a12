"""How TOPA words and supervises its prompts (specification topa, 4.1 and 4.2)."""

from __future__ import annotations

from vidalign.text.prompt_rows import PromptForm
from vidalign.text.tokenizers import Llama3Tokenizer, Tokenizer

_CHOICE = "Instruction: Choose the correct answer based on the video and question.\n"
_ANSWER = "Instruction: Predict the answer based on the {dialogue}video and question.\n"
_OTHERS = {
    "vaq": "Instruction: Predict the question based on the {dialogue}video and answer.\n",
    "qav": "Instruction: Predict the video based on the {dialogue}question and answer.\n",
}
_STEM = "Answer: The correct choice is "
_OTHER_STEM = "Answer: The answer is "
# The tiny language model of the drawn world has read this stem.
_OTHER_STEM_SETS = ("star", "dramaqa", "vlep", "shapes", "shapes_text")


def video_end(tokenizer: Tokenizer) -> int:
    """The id that follows the video. Kept: a newline for Llama-2, ".\\n" for Llama-3."""
    return tokenizer.encode(".\n")[0] if isinstance(tokenizer, Llama3Tokenizer) else tokenizer.newline_id


def prompt_form(tokenizer: Tokenizer, *, dataset: str, dialogue: bool) -> PromptForm:
    """TVQA and VLEP (`dialogue`) always have the dialogue form, even when no dialogue is shown.

    Kept: where supervision begins and what follows the video depend on the tokenizer; released models were trained so.
    Llama-2 supervises from the fourth word of the answer's stem on and puts a newline after the video; Llama-3 begins
    one word later and puts ".\\n" there. [tokenizer_llama2, tokenizer_llama3]
    """
    is_llama3 = isinstance(tokenizer, Llama3Tokenizer)
    stem = _OTHER_STEM if dataset in _OTHER_STEM_SETS else _STEM
    known_words = 4 if is_llama3 else 3
    shown = "dialogue, " if dialogue else ""
    kind = "dense description" if is_llama3 else "summary"
    return PromptForm(
        instructions={
            "vqa": _ANSWER.format(dialogue=shown) if dialogue else _CHOICE,
            **{stream: text.format(dialogue=shown) for stream, text in _OTHERS.items()},
            "summary": f"Instruction: Generate a {kind} for the video.\n",
            "open": _ANSWER.format(dialogue=""),
        },
        answer_stem=stem,
        answer_known=" ".join(stem.split()[:known_words]),
        question_known="Question",
        answer_offset=5 if is_llama3 else 4,
        question_offset=1,
        # Kept: one too early, at the colon; nothing is trained on this stream, it only decides which rows are too long.
        video_offset=1,
        newline_id=video_end(tokenizer) if is_llama3 else None,
        endings=("?", ".") if dataset == "egoschema" else ("?",),
    )


def summary_text(caption: str, *, dataset: str = "textvid") -> str:
    """What a summary row says after the video. Kept: WebVid's captions get a full stop and no newline."""
    return f"Description: {caption}." if dataset == "webvid" else f"Description: {caption}\n"


def spoken_answer(answer: str) -> str:
    """An open-ended answer as it is trained."""
    return f"Answer: {answer.strip()}\n"


def open_answer(answer: str, *, dataset: str) -> str:
    """An option as an open-ended answer (evaluation). Kept: NExT-QA has an empty line before it."""
    return f"\nAnswer: {answer}" if dataset == "nextqa" else f"Answer: {answer}"
