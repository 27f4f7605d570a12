"""Multiple-choice questions about a clip: four options from the clip or a closed set, the right letter uniform.

Types are NExT-QA's, so that its builder reads them: core DO (direction), TN (order), DC (count); hard TP (right after
or before), TC (while), CW (who hits whom), CH (what vanishes), DL (where the flash is: one short moment only).
Beside them `look` for the shortened demo: DB (which colour a thing has), which every frame shows.
"""

from __future__ import annotations

from dataclasses import dataclass

from vidalign.common.rng import draw_seed
from vidalign.data.shapes.world import COLOURS, DIRECTIONS, EDGES, NUMBERS, Clip

GROUPS = {"core": ("DO", "TN", "DC"), "hard": ("TP", "TC", "CW", "CH", "DL"), "look": ("DB",)}
RANKS = ("first", "second", "third", "last")


@dataclass(frozen=True)
class Question:
    """One lettered question; `answer_idx` is 0-based."""

    qtype: str
    text: str
    options: tuple[str, ...]
    answer_idx: int

    @property
    def answer(self) -> str:
        """The right option."""
        return self.options[self.answer_idx]


def questions_of(clip: Clip, *, seed: int = 0) -> list[Question]:
    """All questions about a clip: two of an order or neighbours clip, one of every other."""
    import numpy as np

    rng = np.random.default_rng(draw_seed(seed, 0, clip.clip_id, "shapes questions"))
    asked = []
    for qtype, text, answer, options in _ask(clip, rng):
        # A permutation of the options puts the right one on every letter equally often.
        mixed = tuple(options[i] for i in rng.permutation(len(options)))
        asked.append(Question(qtype, text, mixed, mixed.index(answer)))
    return asked


def _ask(clip: Clip, rng: object) -> list[tuple[str, str, str, list[str]]]:
    """(type, question, answer, options) before shuffling."""
    facts = clip.facts
    if clip.kind == "direction":
        text = f"which way does the {facts['colour']} {facts['shape']} move"
        return [("DO", text, facts["direction"], list(DIRECTIONS))]
    if clip.kind == "count":
        text = f"how many times does the {facts['shape']} turn white"
        return [("DC", text, NUMBERS[facts["times"] - 1], list(NUMBERS))]
    if clip.kind == "still":
        others = [colour for colour in COLOURS if colour != facts["colour"]]
        options = [facts["colour"], *(others[i] for i in rng.permutation(len(others))[:3])]
        return [("DB", f"which colour is the {facts['shape']}", facts["colour"], options)]
    if clip.kind == "order":
        ranks = rng.permutation(len(RANKS))[:2]
        return [("TN", f"which colour appears {RANKS[r]}", facts["colours"][r], facts["colours"]) for r in ranks]
    if clip.kind == "neighbours":
        colours = facts["colours"]
        at = int(rng.integers(1, len(colours)))
        pairs = [("after", colours[at - 1], colours[at]), ("before", colours[at], colours[at - 1])]
        return [
            ("TP", f"which colour comes right {word} {known}", answer, [c for c in colours if c != known])
            for word, known, answer in pairs
        ]
    if clip.kind == "while":
        return [("TC", "what colour is the circle while the square is white", facts["answer"], facts["colours"])]
    if clip.kind == "hit":
        text = f"which one does the {facts['mover']} {facts['shape']} hit"
        return [("CW", text, facts["answer"], facts["others"])]
    if clip.kind == "vanish":
        return [("CH", "which one vanishes", facts["answer"], facts["others"])]
    return [("DL", "where does the flash appear", facts["answer"], list(EDGES))]
