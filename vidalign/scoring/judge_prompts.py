"""What a judge of open-ended answers is asked: six protocols, word for word (Video-ChatGPT, arXiv 2306.05424).

Kept: sentences that join without a blank, a doubled quote in the example, 4.8 as an example of a whole number:
published scores were made with these texts. [judge_prompts]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_OPENING = "You are an intelligent chatbot designed for evaluating the {what} of generative outputs for {pairs}. "
_TASK = "Your task is to compare the predicted answer with the correct answer and {task}. "
_HOW = "Here's how you can accomplish the task:------##INSTRUCTIONS: "
_PAIRS = "video-based question-answer pairs"
_SYNONYMS = "Consider synonyms or paraphrases as valid matches"

_REQUEST = "Please evaluate the following video-based question-answer pair:\n\n"
_FIELDS = "Question: {q}\nCorrect Answer: {a}\nPredicted Answer: {pred}\n\n"
_TWO_FIELDS = (
    "Question 1: {q1}\nQuestion 2: {q2}\nCorrect Answer: {a}\n"
    "Predicted Answer to Question 1: {pred1}\nPredicted Answer to Question 2: {pred2}\n\n"
)
_SCORE = (
    "Provide your evaluation only as a {what} score where the {what} score is an integer value between 0 "
    "and 5, with 5 "
    "indicating the highest {best}. Please generate the response in the form of a Python dictionary string with keys "
    "'score', where its value is {article}{what} score in INTEGER, not STRING."
)
_YES_NO = (
    "Provide your evaluation only as a yes/no and score where the score is an integer value between 0 and 5, with 5 "
    "indicating the highest meaningful match. Please generate the response in the form of a Python dictionary string "
    "with keys 'pred' and 'score', where value of 'pred' is  a string of 'yes' or 'no' and value of 'score' is in "
    "INTEGER, not STRING."
)
_ONLY = "DO NOT PROVIDE ANY OTHER OUTPUT TEXT OR EXPLANATION. Only provide the Python dictionary string. "
_EXAMPLE = "For example, your response should look like this: {example}."


@dataclass(frozen=True)
class Protocol:
    """One kind of judgement. verdict: whether the reply says yes or no beside its score."""

    name: str
    system: str
    fields: str
    ask: str
    verdict: bool = False

    def messages(self, fields: Mapping[str, str]) -> list[dict[str, str]]:
        """The chat that is sent. fields: q, a and pred, or q1, q2, a, pred1 and pred2; put in as they are."""
        example = "{'pred': 'yes', 'score': 4.8}" if self.verdict else "{''score': 4.8}"
        user = _REQUEST + self.fields.format(**fields) + self.ask + _ONLY + _EXAMPLE.format(example=example)
        return [{"role": "system", "content": self.system}, {"role": "user", "content": user}]


def _system(what: str, task: str, *bullets: str, pairs: str = _PAIRS) -> str:
    listed = "\n".join(f"- {bullet}." for bullet in bullets)
    return _OPENING.format(what=what, pairs=pairs) + _TASK.format(task=task) + _HOW + listed


_CONSISTENCY = (
    _OPENING.format(what="consistency", pairs="similar video-based question-answer pairs")
    + "You will be given two very similar questions, a common answer common to both the questions and "
    "predicted answers "
    "for the two questions ."
    "Your task is to compare the predicted answers for two very similar question, with a common correct answer and "
    "determine if they are consistent. "
    + _HOW
    + "- Focus on the consistency between the two predicted answers and the correct answer. Both predicted "
    "answers should "
    "correspond to the correct answer and to each other, and should not contain any contradictions or significant "
    "differences in the conveyed information.\n"
    "- Both predicted answers must be consistent with each other and the correct answer, in terms of the "
    "information they "
    "provide about the video content.\n"
    f"- {_SYNONYMS}, but only if they maintain the consistency in the conveyed information.\n"
    "- Evaluate the consistency of the two predicted answers compared to the correct answer."
)

_ALL = (
    Protocol(
        "open_ended",
        _system(
            "correctness",
            "determine if they match meaningfully",
            "Focus on the meaningful match between the predicted answer and the correct answer",
            _SYNONYMS,
            "Evaluate the correctness of the prediction compared to the answer",
            pairs="question-answer pairs",
        ),
        _FIELDS,
        _YES_NO,
        verdict=True,
    ),
    Protocol(
        "correctness",
        _system(
            "factual accuracy",
            "determine if they are factually consistent",
            "Focus on the factual consistency between the predicted answer and the correct answer. The predicted "
            "answer "
            "should not contain any misinterpretations or misinformation",
            "The predicted answer must be factually accurate and align with the video content",
            _SYNONYMS,
            "Evaluate the factual accuracy of the prediction compared to the answer",
        ),
        _FIELDS,
        _SCORE.format(what="factual accuracy", best="level of factual consistency", article="the "),
    ),
    Protocol(
        "detail",
        _system(
            "detail orientation",
            "determine its level of detail, considering both completeness and specificity",
            "Check if the predicted answer covers all major points from the video. The response should not leave "
            "out any "
            "key aspects",
            "Evaluate whether the predicted answer includes specific details rather than just generic points. It "
            "should "
            "provide comprehensive information that is tied to specific elements of the video",
            _SYNONYMS,
            "Provide a single evaluation score that reflects the level of detail orientation of the prediction, "
            "considering both completeness and specificity",
        ),
        _FIELDS,
        _SCORE.format(what="detail orientation", best="level of detail orientation", article="the "),
    ),
    Protocol(
        "context",
        _system(
            "contextual understanding",
            "determine if the generated response aligns with the overall context of the video content",
            "Evaluate whether the predicted answer aligns with the overall context of the video content. It "
            "should not "
            "provide information that is out of context or misaligned",
            "The predicted answer must capture the main themes and sentiments of the video",
            _SYNONYMS,
            "Provide your evaluation of the contextual understanding of the prediction compared to the answer",
        ),
        _FIELDS,
        _SCORE.format(what="contextual understanding", best="level of contextual understanding", article=""),
    ),
    Protocol(
        "temporal",
        _system(
            "temporal understanding",
            "determine if they correctly reflect the temporal sequence of events in the video content",
            "Focus on the temporal consistency between the predicted answer and the correct answer. The "
            "predicted answer "
            "should correctly reflect the sequence of events or details as they are presented in the video content",
            f"{_SYNONYMS}, but only if the temporal order is maintained",
            "Evaluate the temporal accuracy of the prediction compared to the answer",
        ),
        _FIELDS,
        _SCORE.format(what="temporal accuracy", best="level of temporal consistency", article="the "),
    ),
    Protocol(
        "consistency",
        _CONSISTENCY,
        _TWO_FIELDS,
        _SCORE.format(what="consistency", best="level of consistency", article="the "),
    ),
)
PROTOCOLS = {protocol.name: protocol for protocol in _ALL}
# How the names of metrics begin whose values are mean scores from 0 to 5.
RATINGS = ("score_", *(f"{name}_" for name in PROTOCOLS if name != "open_ended"))
