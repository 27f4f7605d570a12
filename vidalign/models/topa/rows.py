"""TOPA's caption rows: summaries and open-ended answers, beside the shared rows of multiple choice."""

from __future__ import annotations

from vidalign.text.pack import Row
from vidalign.text.prompt_rows import RowMaker


def summary_row(maker: RowMaker, text: str) -> Row:
    """`text` = "Description: ..."; everything from the colon on is supervised."""
    return maker.continuation("summary", f"\n{text}", known="\nDescription", anchor="Description")


def open_row(maker: RowMaker, question: str, answer: str) -> Row:
    """`question` = "Question: ...", `answer` = "Answer: ..."; everything from the answer's colon on is supervised."""
    blank = answer[: len(answer) - len(answer.lstrip())]
    return maker.continuation("open", question + answer, known=f"{question}{blank}Answer", anchor="Answer")
