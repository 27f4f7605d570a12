"""Text of the drawn world for the base language model: lettered questions over textual frames, and look-ups.

A textual frame is one position: the embeddings of its caption's content words, added up. The rows have the very layout
of BoViLA's prompts, so that its visual tokens later stand where the textual frames stood.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vidalign.common.sample import Sample
from vidalign.data.shapes.questions import RANKS, Question, questions_of
from vidalign.data.shapes.world import (
    COLOURS,
    COLUMNS,
    CORE,
    DIRECTIONS,
    HARD,
    NUM_SLOTS,
    NUMBERS,
    ROWS,
    SHAPES,
    SLOT_FRAMES,
    WHITE,
    Clip,
    make_clip,
)
from vidalign.models.bovila.prompts import ANSWER_STEM, prompt_form
from vidalign.text.prompt_rows import RowMaker
from vidalign.text.prompt_texts import LETTERS, Texts, texts_of
from vidalign.text.tokenizers import LlamaTokenizer, Tokenizer, train_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from torch import Tensor

WORD_GROUPS = (COLOURS, tuple(DIRECTIONS), NUMBERS, SHAPES, ROWS, COLUMNS)
WORDS = tuple(dict.fromkeys([WHITE, *(word for group in WORD_GROUPS for word in group)]))
_MOST_WORDS = 20
# Two direction and two count clips for each order clip, which has two questions; every eighth clip is a hard one.
_MIX = (*("direction", "count", "order", "direction", "count") * 7, *HARD)
# What narration heads are taught to say at every frame; -1 is "nothing to say here".
SILENT = -1
_FORM = prompt_form(dialogue=False)


def base_clips(seed: int, count: int, *, split: str = "bases", only: str | None = None) -> list[Clip]:
    """Clips for the bases; no train, val or test clip of any seed is among them, because the split names the draw.

    only: one kind instead of the mixture.
    """
    kinds = _MIX if split == "bases" else (*CORE, *CORE, *HARD)
    kinds = (only,) if only else kinds
    return [make_clip(seed, split, i, kind=kinds[i % len(kinds)]) for i in range(count)]


def make_tokenizer(path: Path, clips: Sequence[Clip]) -> LlamaTokenizer:
    """Every word of the drawn world becomes one piece."""
    lines = [text + "Video:" for text in _FORM.instructions.values()] * 200
    lines += ["(A)\n(B)\n(C)\n(D)\n"] * 50
    for clip in clips:
        for asked in questions_of(clip):
            texts = _texts(asked)
            lines += [
                texts.question + texts.options + texts.answer + "(A)",
                asked.text,
                f"which one is {asked.answer}?",
            ]
        lines += clip.captions
    lines += [" ".join(WORDS)] * 20
    train_tokenizer(path, lines, vocab_size=800)
    return LlamaTokenizer(path)


@dataclass
class Rows:
    """A padded batch. ids_BT: 0 at frames and padding. paren_B: the position that predicts the letter (or word).

    option_B4: position of each option's first token. words: the right option as a word id.
    """

    ids_BT: Tensor
    paren_B: Tensor
    option_B4: Tensor
    word_B: Tensor


class TextMaker:
    """Questions and clips -> rows and targets of the base language model. `groups`: words that look-ups ask for."""

    def __init__(self, tokenizer: Tokenizer, *, groups: Sequence[Sequence[str]] = WORD_GROUPS) -> None:
        self.tokenizer, self.groups = tokenizer, groups
        self.maker = RowMaker(tokenizer, form=_FORM, num_frames=NUM_SLOTS, dialogue_form=False)
        self.word_id = {word: tokenizer.encode(word)[0] for word in WORDS}
        self.letters = [tokenizer.word_id(letter, initial=False) for letter in LETTERS[:4]]
        self._rows: dict[Any, Any] = {}  # encoded prompts by question; the same ones come again and again
        self.video_start = self._row(Question("", "which one is red", ("red", "blue", "cyan", "green"), 0))[3]

    def lettered(self, asked: Sequence[Question]) -> Rows:
        """Whole prompts, the right letter included."""
        import torch

        made = [self._row(question) for question in asked]
        return Rows(
            _padded([ids for ids, *_ in made]),
            torch.tensor([paren for _, paren, *_ in made]),
            torch.tensor([options for _, _, options, _ in made]),
            torch.tensor([self.word_id[question.answer] for question in asked]),
        )

    def asking(self, asked: Sequence[Question]) -> tuple[Tensor, Tensor]:
        """Prompts that ask for the question (vaq): ids (B, T), and True (B, T) where the question stands."""
        import torch

        rows = []
        for one in asked:
            key = one, "vaq"
            if key not in self._rows:
                row = self.maker.rows("vaq", _texts(one), [one.answer_idx])[0]
                self._rows[key] = [max(i, 0) for i in row.ids], row.supervised
            rows.append(self._rows[key])
        ids_BT = _padded([ids for ids, _ in rows])
        place = torch.arange(ids_BT.shape[1])[None]
        start, end = torch.tensor([s for _, s in rows]), torch.tensor([len(ids) for ids, _ in rows])
        return ids_BT, (place >= start[:, None]) & (place < end[:, None])

    def frames(self, clips: Sequence[Clip], *, word_id: Mapping[str, int] | None = None) -> Tensor:
        """Word ids (N, F, 20) of the textual frames, 0 where there is no word more.

        word_id: those of another tokenizer.
        """
        import torch

        word_id = word_id or self.word_id
        table = []
        for clip in clips:
            seen = [clip.frames[slot * SLOT_FRAMES + 1] for slot in range(NUM_SLOTS)]
            words = [[w for t in frame for w in (t.colour, t.shape, *t.place.split())] for frame in seen]
            ids = [[word_id[w] for w in row if w in word_id] for row in words]
            table.append([row + [0] * (_MOST_WORDS - len(row)) for row in ids])
        return torch.tensor(table)

    def look_up(self, rng: np.random.Generator) -> Question:
        """`which one is red`: needs no video."""
        group = self.groups[int(rng.integers(len(self.groups)))]
        options = tuple(str(word) for word in rng.permutation(group)[:4])
        index = int(rng.integers(4))
        return Question("LU", f"which one is {options[index]}", options, index)

    def look_up_lists(self, rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Choices, then five lines like `red is (B)`: ids (B, T), positions before each letter (B, 5), of options."""
        import torch

        rows, places = [], []
        for _ in range(count):
            options = self.look_up(rng).options
            head = "Choices: \n" + "".join(f"({a}) {o}\n" for a, o in zip(LETTERS, options, strict=False))
            ids, at = [self.tokenizer.bos_id, *self.tokenizer.encode(head)], []
            for index in rng.integers(0, 4, 5).tolist():
                line = self.tokenizer.encode(f"{options[index]} is ({LETTERS[index]})\n")
                at.append(len(ids) + line.index(self.letters[index]) - 1)
                ids += line
            rows.append(ids)
            places.append(at)
        ids_BT = _padded(rows)
        first = [rows[0].index(letter) + 2 for letter in self.letters]
        return ids_BT, torch.tensor(places), torch.tensor([first] * count)

    def rank_lists(self, rng: np.random.Generator, clips: Sequence[Clip]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Three rank questions answered in words, over order clips: ids, positions (B, 3), words (B, 3), ranks (B, 3).

        Four right answers in a row instead of one letter teach the frames' order much faster.
        """
        import torch

        rows, places, words, ranks = [], [], [], []
        front, _ = self.maker._front("vqa", [])
        for clip in clips:
            ids, at = [max(i, 0) for i in front], []
            order = rng.permutation(len(RANKS))[:3].tolist()
            for rank in order:
                ids += self.tokenizer.encode(f"Question: Which colour appears {RANKS[rank]}?\n")
                ids += self.tokenizer.encode("The answer is (")
                at.append(len(ids) - 1)
                ids += [self.word_id[clip.facts["colours"][rank]], self.tokenizer.newline_id]
            rows.append(ids)
            places.append(at)
            ranks.append(order)
            words.append([self.word_id[clip.facts["colours"][rank]] for rank in order])
        return _padded(rows), torch.tensor(places), torch.tensor(words), torch.tensor(ranks)

    def _row(self, asked: Question) -> tuple[list[int], int, list[int], int]:
        if asked not in self._rows:
            row = self.maker.rows("vqa", _texts(asked), [asked.answer_idx])[0]
            ids = [max(i, 0) for i in row.ids]
            paren = len(ids) - 1 - ids[::-1].index(self.letters[asked.answer_idx]) - 1
            options = [ids.index(letter, row.video_start + NUM_SLOTS) + 2 for letter in self.letters]
            self._rows[asked] = ids, paren, options, row.video_start
        return self._rows[asked]


def answer_groups(clips: Sequence[Clip]) -> list[Sequence[str]]:
    """The groups of words that these clips' questions choose from."""
    chosen = {option for clip in clips for asked in questions_of(clip) for option in asked.options}
    return [group for group in WORD_GROUPS if chosen & set(group)]


def narration(clip: Clip) -> list[list[int]]:
    """What is true at every frame: [direction, colours so far, white turns so far, does something start] x F."""
    direction, ranks, turns, starts = ([SILENT] * NUM_SLOTS for _ in range(4))
    seen = [clip.frames[slot * SLOT_FRAMES + 1] for slot in range(NUM_SLOTS)]
    if clip.kind == "direction":
        direction = [SILENT, *[list(DIRECTIONS).index(clip.facts["direction"])] * (NUM_SLOTS - 1)]
    if clip.kind in ("order", "neighbours", "count"):
        shown = [frame[0].colour if frame else None for frame in seen]
        if clip.kind == "count":
            shown = [colour if colour == WHITE else None for colour in shown]
        starts = [int(c is not None and c != p) for c, p in zip(shown, [None, *shown[:-1]], strict=True)]
        so_far = [sum(starts[: slot + 1]) for slot in range(NUM_SLOTS)]
        ranks, turns = (ranks, so_far) if clip.kind == "count" else (so_far, turns)
    return [direction, ranks, turns, starts]


def asked_for(question: Question) -> int:
    """Class of what a question asks: four ranks, direction, count, look-up, anything else."""
    known = {"DO": 4, "DC": 5, "LU": 6}
    return RANKS.index(question.text.split()[-1]) if question.qtype == "TN" else known.get(question.qtype, 7)


def _texts(asked: Question) -> Texts:
    sample = Sample(
        uid="bases",
        dataset="shapes",
        split="bases",
        task="mc_qa",
        question=asked.text,
        options=asked.options,
        answer_idx=asked.answer_idx,
    )
    return texts_of(sample, dialogue_rule=None, answer_stem=ANSWER_STEM, endings=_FORM.endings)


def _padded(rows: Sequence[Sequence[int]]) -> Tensor:
    import torch

    longest = max(map(len, rows))
    return torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
