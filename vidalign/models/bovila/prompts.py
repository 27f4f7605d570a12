"""How BoViLA and LLaMA-VQA word and supervise their prompts (specification bovila, 4.1 to 4.3)."""

from __future__ import annotations

from vidalign.text.prompt_rows import PromptForm

_INSTRUCTIONS = {
    "vqa": "Instruction: Predict the answer based on the {dialogue}video and question.\n",
    "vaq": "Instruction: Predict the question based on the {dialogue}video and answer.\n",
    "qav": "Instruction: Predict the video based on the {dialogue}question and answer.\n",
}
ANSWER_STEM = "Answer: The answer is "


def prompt_form(*, dialogue: bool) -> PromptForm:
    """VLEP and TVQA always have the dialogue form, even when no dialogue is shown."""
    shown = "dialogue, " if dialogue else ""
    return PromptForm(
        instructions={stream: text.format(dialogue=shown) for stream, text in _INSTRUCTIONS.items()},
        answer_stem=ANSWER_STEM,
        answer_known=ANSWER_STEM.rstrip(),
        question_known="Question:",
        answer_offset=5,
        question_offset=2,
        video_offset=2,
    )
