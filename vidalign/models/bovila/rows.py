"""Token rows of the three streams: answer (vqa), question (vaq) and video (qav) are predicted from one another.

BoViLA (arXiv 2410.02768), Flipped-VQA (arXiv 2310.15747); layout in specification bovila, sections 4.2 to 4.4.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from vidalign.models.bovila.prompts import LETTERS, QUESTION_MARK, VIDEO_MARK, Texts, instruction, letter
from vidalign.text.pack import PLACEHOLDER, Row, shared_prefix
from vidalign.text.tokenizers import Tokenizer

# Kept: each text block is encoded on its own, so each gets its own leading blank (all data_* cases).


class RowMaker:
    """Texts -> rows, one per option asked for.

    Positions are found by comparing encodings, which holds for every tokenizer and every text.
    # Changed: the official code takes the first hit of a token (`Answer`, `Question`), which a question or a dialogue
    that contains the word shifts; equal everywhere else (all data_* cases). `official_positions` searches like it.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, num_frames: int, dialogue_form: bool, official_positions: bool = False
    ) -> None:
        self.tokenizer = tokenizer
        self.num_frames = num_frames
        self.dialogue_form = dialogue_form
        self.official_positions = official_positions
        self._heads = {
            name: (tokenizer.bos_id, *tokenizer.encode(instruction(name, dialogue_form=dialogue_form) + tail))
            for name, tail in (("vqa", VIDEO_MARK), ("vaq", VIDEO_MARK), ("qav", ""))
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
        front = (*self._heads[stream], *self._video, self.tokenizer.newline_id)
        return (*front, *dialogue), len(front)

    def _vqa(self, texts: Texts, options: list[int]) -> list[Row]:
        encode = self.tokenizer.encode
        stem = texts.question + texts.options + texts.answer
        known, mark = encode(stem.rstrip()), encode(QUESTION_MARK)
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
                supervised=len(front) + shared_prefix(encode(stem + QUESTION_MARK), main),
                cut_start=cut,
                cut_end=len(front),
            )
            if self.official_positions:
                row = replace(row, supervised=self.first(row.ids, "Question", initial=False) + 2)
            rows.append(row)
        return rows

    def _qav(self, texts: Texts, options: list[int]) -> list[Row]:
        encode = self.tokenizer.encode
        head = instruction("qav", dialogue_form=self.dialogue_form)
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
                start = self.first(text, "Video", initial=False) + 2
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
        start = len(row.ids) - 4 if self.dialogue_form else self.first(row.ids, "Answer", initial=False) + 5
        return replace(row, supervised=start, question_start=self.first(row.ids, "Question", initial=True) + 2)

    def first(self, ids: tuple[int, ...], word: str, *, initial: bool) -> int:
        """First position of the piece `word`, as the official code looks for it."""
        return ids.index(self.tokenizer.word_id(word, initial=initial))
