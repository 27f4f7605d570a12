"""The small T5 of ViLA's base: from text alone it learns to find what is asked among up to 16 textual frames.

A textual frame is as many tokens as the Q-Former has queries: the first is the scaled sum of the words' embeddings for
the cross, the others are silent, as all are in a frame without a cross; noise lies over everything. Rows have ViLA's
own prompts. Most crosses are faint, and of a faint one the letter is only to be said half surely. So what the Q-Former
learns to write grows evenly with how much of a cross there is, and the distance to the teacher's tokens tells the
Frame-Prompter which frame would have helped. With words for empty frames, or with letters that are always sure, it did
not: BENCHMARKS.md.
Shape letters: B rows, F frames, Q queries, D width of T5, T encoder positions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidalign.backbones import flan_t5
from vidalign.common.rng import draw_seed
from vidalign.data.shapes.one_moment import ASKED, INTERVALS, colour_question
from vidalign.data.shapes.questions import Question
from vidalign.data.shapes.world import COLOURS, FLASH, Frame
from vidalign.models.vila import prompts, tower
from vidalign.models.vila.sizes import SIZES
from vidalign.runners.shapes.descent import Descent
from vidalign.runners.shapes.settings import OnStep
from vidalign.text.fast_tokenizers import FastTokenizer, train_fast_tokenizer

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

DIMS = SIZES["shapes"]
_PEAK, _ROWS, _NOISE, _SOLVED = 2e-3, 32, (0.05, 0.3), 0.05
_WORD_BEFORE = 1  # T5's bucket of the offset -1


def prompt(asked: Question) -> str:
    """ViLA's prompt."""
    return prompts.qa_prompt(asked.text, asked.options)


def train_words(path: Path, *, kind: str) -> FastTokenizer:
    """A tokenizer in which every word of the prompts and answers is one piece."""
    letters = [f"Option {letter} Option {letter}: " for letter in prompts.LETTERS]
    lines = [prompts.qa_prompt(ASKED, [*COLOURS[turn:], *COLOURS[:turn]][:4]) for turn in range(len(COLOURS))]
    lines += [*letters, FLASH]
    train_fast_tokenizer(path, lines * 60, kind=kind, pieces=DIMS.qformer_vocab or 256)
    return FastTokenizer(path, kind=kind)


def text_rows(t5: FastTokenizer, bert: FastTokenizer, asked: Sequence[Question]) -> dict[str, Any]:
    """The text part of a batch as models/vila/processor.py collates it."""
    import torch

    rows: dict[str, Any] = {"uid": [str(row) for row in range(len(asked))]}
    rows["prompt_ids"], rows["prompt_mask"] = t5.pad([t5.encode(prompt(one)) for one in asked])
    rows["question_ids"], rows["question_mask"] = bert.pad([bert.encode(prompt(one)) for one in asked])
    targets = [t5.encode(prompts.target(one.answer_idx)) for one in asked]
    rows["target_ids"], rows["target_mask"] = t5.pad(targets, value=-100)
    rows["letter_ids"] = torch.tensor([t5.one_id(letter) for letter in prompts.LETTERS])
    rows["answer_idx"] = torch.tensor([one.answer_idx for one in asked])
    return rows


def frame_words(frame: Frame) -> list[list[str]]:
    """The words of each of a frame's tokens; none where it is silent."""
    crosses = [thing.colour for thing in frame if thing.shape == FLASH]
    return [[FLASH, *crosses] if crosses else [], []]


def word_tokens(table: nn.Module, words: FastTokenizer, frames: Sequence[Sequence[Sequence[str]]]) -> Tensor:
    """(F, Q, D): every token the sum of its words' embeddings / sqrt(their number), zero without words."""
    import torch

    tokens = [[words.one_id(word) for word in token] for frame in frames for token in frame]
    summed = [table(torch.tensor(ids, dtype=torch.long)).sum(0) / math.sqrt(max(1, len(ids))) for ids in tokens]
    return torch.stack(summed).unflatten(0, (len(frames), -1))


class ReaderTrainer:
    """Trains one T5: first to say the letter of a word it is shown, then to find the cross among 1, 4 or 16 frames."""

    def __init__(self, words: FastTokenizer, bert: FastTokenizer, *, seed: int) -> None:
        import numpy as np
        import torch
        from torch import nn

        self.words, self.bert = words, bert
        self.rng = np.random.default_rng(draw_seed(seed, 0, "", "shapes vila reader"))
        torch.manual_seed(draw_seed(seed, 0, "", "shapes vila reader") % 2**31)
        self.t5 = tower.build_t5(DIMS, dropout=0.0)
        start_t5(self.t5)
        width = DIMS.t5["d_model"]
        # Thrown away afterwards: the answer as a word at the row's end, each option's own letter after one layer, and
        # which option is the right one after the last.
        sizes = {"word": DIMS.t5["vocab_size"], "letter": 4, "right": 1}
        self.heads = nn.ModuleDict({name: nn.Linear(width, size, bias=False) for name, size in sizes.items()})
        self.descent = Descent([*self.t5.parameters(), *self.heads.parameters()])
        self._colours = {words.one_id(colour) for colour in COLOURS}

    def train(self, *, steps: int, on_step: OnStep) -> None:
        """Look-ups alone until they are solved (at most half the steps), then frames."""
        look_up = 1.0
        for step in range(steps):
            alone = look_up > _SOLVED and step < steps // 2
            answer, helps = self._losses(*(self._look_ups() if alone else self._framed(self._count())))
            look_up = 0.9 * look_up + 0.1 * float(answer.detach())
            self.descent.step(answer + helps, lr=_PEAK * min(1, (step + 1) / 50) * _faded(step / steps))
            on_step(step, float(answer.detach()))
        self.t5.eval().requires_grad_(False)

    def accuracy(self, *, rows: int = 400) -> float:
        """Share of letters right from 16 textual frames without noise."""
        import torch

        right = 0
        with torch.no_grad():
            for _ in range(rows // _ROWS):
                seen, asked, _ = self._framed(INTERVALS, whole=True)
                batch = text_rows(self.words, self.bert, asked)
                logits = self._read(seen, batch)[0]
                right += int((logits[:, 1, batch["letter_ids"]].argmax(1) == batch["answer_idx"]).sum())
        return right / (rows // _ROWS * _ROWS)

    def _count(self) -> int:
        return int(self.rng.choice((1, 4, 4, INTERVALS)))

    def _look_ups(self) -> tuple[Tensor, list[Question], Tensor]:
        """The answer's word is the only token before the prompt."""
        import torch

        asked = [colour_question(self.rng, str(self.rng.choice(COLOURS))) for _ in range(_ROWS)]
        seen = self.t5.shared(torch.tensor([[self.words.one_id(one.answer)] for one in asked]))
        return seen, asked, torch.ones(_ROWS)

    def _framed(self, count: int, *, whole: bool = False) -> tuple[Tensor, list[Question], Tensor]:
        """(tokens, questions, how sure each answer is): one of `count` textual frames has the cross.

        whole: crosses that are not faint, and no noise.
        """
        import torch

        asked = [colour_question(self.rng, str(self.rng.choice(COLOURS))) for _ in range(_ROWS)]
        cross = word_tokens(self.t5.shared, self.words, [[[FLASH, one.answer]] for one in asked])[:, 0]
        strength = torch.ones(_ROWS) if whole else strengths(self.rng, _ROWS)
        row, at = torch.arange(_ROWS), torch.from_numpy(self.rng.integers(count, size=_ROWS))
        seen = torch.zeros(_ROWS, count, DIMS.num_queries, DIMS.t5["d_model"])
        seen = seen.index_put((row, at, torch.zeros_like(row)), strength[:, None] * cross).flatten(1, 2)
        if not whole:
            low, high = _NOISE
            noise = low + (high - low) * torch.rand(_ROWS, 1, 1)
            seen = (seen + noise * torch.randn_like(seen)) * (0.5 + torch.rand(_ROWS, 1, 1))
        return seen, asked, sureness(strength)

    def _read(self, seen_BTD: Tensor, batch: dict[str, Any]) -> tuple[Tensor, Any, Tensor]:
        embeds, mask = tower.t5_input(self.t5, [seen_BTD, (batch["prompt_ids"], batch["prompt_mask"])])
        out = self.t5.encoder(inputs_embeds=embeds, attention_mask=mask, output_hidden_states=True)
        target = batch["target_ids"], batch["target_mask"]
        hidden = flan_t5.hidden_of_labels(self.t5, out.last_hidden_state, mask, *target)
        return flan_t5.logits(self.t5, hidden), out.hidden_states, mask

    def _losses(self, seen_BTD: Tensor, asked: Sequence[Question], sure_B: Tensor) -> tuple[Tensor, Tensor]:
        import torch
        import torch.nn.functional as F

        batch = text_rows(self.words, self.bert, asked)
        logits, hidden, mask = self._read(seen_BTD, batch)
        row = torch.arange(len(asked))
        word = self.heads["word"](hidden[-1][row, mask.sum(1) - 1])
        answers = torch.tensor([self.words.one_id(one.answer) for one in asked])
        named = (sure_B * F.cross_entropy(word, answers, reduction="none")).mean()
        places = [
            [seen_BTD.shape[1] + at for at, one in enumerate(ids) if one in self._colours]
            for ids in batch["prompt_ids"].tolist()
        ]
        options = row[:, None], torch.tensor(places)
        bound = F.cross_entropy(
            self.heads["letter"](hidden[1][options]).flatten(0, 1), torch.arange(4).repeat(len(asked))
        )
        right = self.heads["right"](hidden[-1][options]).squeeze(-1)
        found = unsure(right, torch.arange(4), batch["answer_idx"], sure_B)
        return letter_loss(logits, batch, sure_B), named + bound + found


def letter_loss(logits_BLV: Tensor, batch: dict[str, Any], sure_B: Tensor) -> Tensor:
    """Cross-entropy of "Option", letter, end, where a letter may be unsure."""
    rest = flan_t5.label_loss(logits_BLV[:, ::2], batch["target_ids"][:, ::2])
    return unsure(logits_BLV[:, 1], batch["letter_ids"][:4], batch["target_ids"][:, 1], sure_B) + rest


def unsure(logits_BV: Tensor, options: Tensor, answer_B: Tensor, sure_B: Tensor) -> Tensor:
    """Mean cross-entropy with the answer to this degree, and all options alike with the rest."""
    said = logits_BV.float().log_softmax(-1)
    right = said.gather(1, answer_B[:, None]).squeeze(1)
    return -(sure_B * right + (1 - sure_B) * said[:, options].mean(1)).mean()


def strengths(rng: np.random.Generator, rows: int) -> Tensor:
    """How much of a cross is there (B,): all in three of ten rows, nothing in one, mostly little in the others."""
    import numpy as np
    import torch

    kind = rng.random(rows)
    faint = np.where(kind < 0.4, 0.0, rng.random(rows) ** 2)
    return torch.from_numpy(np.where(kind < 0.3, 1.0, faint)).float()


def sureness(strength_B: Tensor) -> Tensor:
    """How surely the letter is said: wholly from half a cross on."""
    return (2 * strength_B).clamp(max=1.0)


def start_t5(t5: nn.Module) -> None:
    """Embeddings of variance one and layers of unit gain; queries are quieter, because T5 does not divide scores.

    The encoder's first head begins by looking at the word before (an option at its letter), the others at equal words:
    without that the letters stayed at chance for 450 steps, with it they are solved in 150.
    """
    import torch

    width = DIMS.t5["d_kv"]
    with torch.no_grad():
        for name, weight in t5.named_parameters():
            if "shared" in name:
                weight.normal_(0, 1)
            elif "relative_attention_bias" in name:
                weight.normal_(0, 0.1)
            elif weight.ndim == 2:
                quiet = 0.5 if name.endswith(("o.weight", "wo.weight")) else 0.3 if "lm_head" in name else 1.0
                quiet = width**-0.5 if name.endswith(".q.weight") else quiet
                weight.normal_(0, quiet * weight.shape[1] ** -0.5)
        for block in t5.encoder.block:
            attention = block.layer[0].SelfAttention
            attention.q.weight[width:] = width**-0.5 * attention.k.weight[width:]
        first = t5.encoder.block[0].layer[0].SelfAttention.relative_attention_bias
        first.weight[_WORD_BEFORE, 0] += 5.0


def _faded(way: float) -> float:
    """Full rate for three fifths of the way, then half a cosine down."""
    return 1.0 if way < 0.6 else (1 + math.cos(math.pi * (way - 0.6) / 0.4)) / 2
