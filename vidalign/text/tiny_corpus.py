"""The few hundred sentences from which the tiny tokenizer learns its pieces: questions about everyday videos."""

from __future__ import annotations

_PROMPTS = (
    "Instruction: Predict the answer based on the video and question.",
    "Instruction: Predict the question based on the dialogue, video and answer.",
    "Video: Question: Choices: Dialogue: Answer: The answer is (A) (B) (C) (D) (E)",
)
_PEOPLE = ("the man", "the woman", "the boy", "the girl", "the baby", "the dog", "the cat", "the person", "a child")
_ACTIONS = (
    "opens the door",
    "holds a cup",
    "walks to the table",
    "sits on the chair",
    "takes the book",
    "looks at the phone",
    "throws the ball",
    "puts down the bag",
    "closes the window",
    "eats the food",
    "drinks water",
    "plays in the room",
    "runs outside",
    "talks and laughs",
    "turns around",
)
_STARTS = ("what does", "why did", "how does", "where is", "which object was", "who", "what happened after", "when")


def sentences() -> list[str]:
    """The same list on every call."""
    questions = [f"{start} {who} {act}?" for start in _STARTS for who in _PEOPLE for act in _ACTIONS[:8]]
    answers = [f"{who.capitalize()} {act}." for who in _PEOPLE for act in _ACTIONS]
    return [*_PROMPTS, *questions, *answers]
