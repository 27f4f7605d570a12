"""Which of a textual video's questions is asked, and in which order its options stand (specification topa, 4.5)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vidalign.common.errors import MediaError
from vidalign.common.rng import draw_seed
from vidalign.common.sample import Sample

# Kept: substrings, so that "ball", "hand" and "stand" count too. [dataset_textvid_train]
_TIED_TO_THEIR_PLACE = ("both", "all", "none", "and")
# An answer about several options makes no sense without them.
_NOT_OPEN = ("both", "all")


@dataclass(frozen=True)
class Draws:
    """The random choices of one visit to a sample: which question, which order of its options, and a uniform number
    that decides between open-ended answer and summary."""

    question: int
    order: tuple[int, ...]
    uniform: float


def draw(sample: Sample, *, seed: int, epoch: int) -> Draws:
    """The draws of an epoch, named by (seed, epoch, uid): equal on every worker, rank and restart."""
    generator = random.Random(draw_seed(seed, epoch, sample.uid, "question"))
    question = generator.randrange(len(sample.qas)) if sample.qas else 0
    order = list(range(len(sample.qas[question].options) if sample.qas else 0))
    generator.shuffle(order)
    return Draws(question, tuple(order), generator.random())


def pose(sample: Sample, draws: Draws, *, balance: bool) -> Sample:
    """The Sample with the drawn question as its own; MediaError when that question is broken.

    balance: put the options in the drawn order, unless the true one speaks of other options.
    Changed: the official code shuffles the stored row itself and leaves its answer's letter, so that a row visited
    twice is trained with a wrong answer; here the row is copied. A first visit is equal. [dataset_textvid_train]
    """
    qa = sample.qas[draws.question]
    if qa.problem is not None:
        raise MediaError(qa.problem)
    options, index = qa.options, qa.answer_idx
    if balance and not _mentions(options[index], _TIED_TO_THEIR_PLACE):
        options, index = reordered(options, index, draws.order)
    answers = () if qa.answer is None else (qa.answer,)
    return replace(sample, question=qa.question, options=options, answer_idx=index, answers=answers)


def reordered(options: Sequence[str], answer: int, order: Sequence[int]) -> tuple[tuple[str, ...], int]:
    """Options in the given order (place in the file of each), and where the answer has gone."""
    return tuple(options[place] for place in order), list(order).index(answer)


def answers_openly(sample: Sample) -> bool:
    """Whether a sample has an open-ended answer that stands without the options."""
    return bool(sample.answers) and not _mentions(sample.options[sample.answer_idx], _NOT_OPEN)


def _mentions(option: str, words: Sequence[str]) -> bool:
    return any(word in option.lower() for word in words)
