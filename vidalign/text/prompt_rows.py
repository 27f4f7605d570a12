"""Token rows of the three streams: answer (vqa), question (vaq) and video (qav) are predicted from one another.

Flipped-VQA (arXiv 2310.15747), BoViLA (arXiv 2410.02768), TOPA (arXiv 2405.13911); layout in specifications bovila,
sections 4.2 to 4.4, and topa, sections 4.1 to 4.3. A `PromptForm` says what differs between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from vidalign.text.pack import PLACEHOLDER, Row, shared_prefix
from vidalign.text.prompt_texts import LETTERS, QUESTION_MARK, VIDEO_MARK, Texts, letter
from vidalign.text.tokenizers import Tokenizer

# Kept: each text block is encoded on its own, so each gets its own leading blank (all dataset cases).


@dataclass(frozen=True, kw_only=True)
class PromptForm:
    """How a system words and supervises its prompts.

    instructions: stream -> its first line. answer_stem: what precedes the letter; answer_known: its beginning, which is
    not supervised; question_known: the part of "Question:" that is not supervised in vaq. The offsets are the official
    ones, counted from the first hit of `Answer`, `Question` and `Video`. newline_id: what follows the video, None for
    the tokenizer's newline. endings: with which a question may end without getting a "?".
    """

    instructions: Mapping[str, str]
    answer_stem: str
    answer_known: str
    question_known: str
    answer_offset: int
    question_offset: int
    video_offset: int
    newline_id: int | None = None
    endings: tuple[str, ...] = ("?",)


class RowMaker:
    """Texts -> rows, one per option asked for.

    Positions are found by comparing encodings, which holds for every tokenizer and every text.
    # Changed: the official code takes the first hit of a token (`Answer`, `Question`), which a question or a dialogue
    that contains the word shifts; equal everywhere else (all data_* cases). `official_positions` searches like it.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        form: PromptForm,
        num_frames: int,
        dialogue_form: bool,
        official_positions: bool = False,
    ) -> None:
        self.tokenizer = tokenizer
        self.form = form
        self.num_frames = num_frames
        self.dialogue_form = dialogue_form
        self.official_positions = official_positions
        self._heads = {
            name: (tokenizer.bos_id, *tokenizer.encode(line + ("" if name == "qav" else VIDEO_MARK)))
            for name, line in form.instructions.items()
        }

    def rows(self, stream: str, texts: Texts, options: list[int]) -> list[Row]:
        """Rows of one stream with the given options as the answer, before cutting to a length."""
        make = {"vqa": self._vqa, "vaq": self._vaq, "qav": self._qav}[stream]
        return make(texts, options)

    def question_length(self, texts: Texts) -> int:
        """qlen: tokens of the question and its newline, without "Question:"."""
        ids = self.tokenizer.encode(texts.question)
        return len(ids) - shared_prefix(self.tokenizer.encode(QUESTION_MARK), ids)

    def answer_index(self, row: Row, option: int) -> int:
        """First position of the option's letter in a row (an unused field of the official loader)."""
        return row.ids.index(self.tokenizer.word_id(LETTERS[option], initial=False))

    def _front(self, stream: str, dialogue: list[int]) -> tuple[tuple[int, ...], int]:
        """Head, placeholders, newline, dialogue; and where the dialogue begins."""
        newline = self.tokenizer.newline_id if self.form.newline_id is None else self.form.newline_id
        front = (*self._heads[stream], *self._video, newline)
        return (*front, *dialogue), len(front)

    def continuation(self, stream: str, text: str, *, known: str, anchor: str) -> Row:
        """Instruction, video, newline, text; what follows `known`, the text's beginning, is supervised.

        anchor: the piece from whose first hit on the official code supervises.
        """
        front, _ = self._front(stream, [])
        main = self.tokenizer.encode(text)
        row = Row(
            ids=(*front, *main, self.tokenizer.eos_id),
            video_start=len(self._heads[stream]),
            supervised=len(front) + shared_prefix(self.tokenizer.encode(known), main),
        )
        if self.official_positions:
            row = replace(row, supervised=self.first(row.ids, anchor, initial=False) + 1)
        return row

    def _vqa(self, texts: Texts, options: list[int]) -> list[Row]:
        encode = self.tokenizer.encode
        stem = texts.question + texts.options + texts.answer
        known = encode(texts.question + texts.options + self.form.answer_known)
        mark = encode(QUESTION_MARK)
        front, cut = self._front("vqa", encode(texts.dialogue or ""))
        rows = []
        for option in options:
            main = encode(stem + letter(option))
            row = Row(
                ids=(*front, *main, self.tokenizer.eos_id),
                video_start=len(self._heads["vqa"]),
                supervised=len(front) + shared_prefix(known, main),
                question_start=len(front) + shared_prefix(mark, main),
                cut_start=cut,
                cut_end=len(front),
            )
            rows.append(self._as_official_vqa(row) if self.official_positions else row)
        return rows

    def _vaq(self, texts: Texts, options: list[int]) -> list[Row]:
        encode = self.tokenizer.encode
        front, cut = self._front("vaq", encode(texts.dialogue or ""))
        rows = []
        for option in options:
            stem = f"{texts.options}{texts.answer}{letter(option)}\n"
            main = encode(stem + texts.question.strip())
            row = Row(
                ids=(*front, *main, self.tokenizer.eos_id),
                video_start=len(self._heads["vaq"]),
                supervised=len(front) + shared_prefix(encode(stem + self.form.question_known), main),
                cut_start=cut,
                cut_end=len(front),
            )
            if self.official_positions:
                start = self.first(row.ids, "Question", initial=False) + self.form.question_offset
                row = replace(row, supervised=start)
            rows.append(row)
        return rows

    def _qav(self, texts: Texts, options: list[int]) -> list[Row]:
        encode = self.tokenizer.encode
        head = self.form.instructions["qav"]
        blocks = texts.question + texts.options + texts.answer
        dialogue = encode(texts.dialogue or "")
        rows = []
        for option in options:
            tail = f"{blocks}{letter(option)}\n{VIDEO_MARK}"
            if self.dialogue_form:
                front = (*self._heads["qav"], *dialogue)
                text = (*front, *encode(tail))
                cut = len(self._heads["qav"]), len(front)
            else:
                text = (self.tokenizer.bos_id, *encode(head + tail))
                cut = 0, 0
            start = len(text)
            if self.official_positions and not self.dialogue_form:
                start = self.first(text, "Video", initial=False) + self.form.video_offset
            row = Row(
                ids=(*text, *self._video, self.tokenizer.eos_id),
                video_start=start,
                supervised=start,
                cut_start=cut[0],
                cut_end=cut[1],
            )
            rows.append(row)
        return rows

    @cached_property
    def _video(self) -> tuple[int, ...]:
        return (PLACEHOLDER,) * self.num_frames

    def _as_official_vqa(self, row: Row) -> Row:
        # The dialogue form counts from the end, the plain form from the first `Answer`.
        if self.dialogue_form:
            start = len(row.ids) - 4
        else:
            start = self.first(row.ids, "Answer", initial=False) + self.form.answer_offset
        return replace(row, supervised=start, question_start=self.first(row.ids, "Question", initial=True) + 2)

    def first(self, ids: tuple[int, ...], word: str, *, initial: bool) -> int:
        """First position of the piece `word`, as the official code looks for it."""
        return ids.index(self.tokenizer.word_id(word, initial=initial))
