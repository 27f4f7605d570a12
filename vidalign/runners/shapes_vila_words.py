"""The small T5 of ViLA's base: from text alone it learns to find what is asked among up to 16 textual frames.

A textual frame is as many tokens as the Q-Former has queries and holds what the question asks about: the words for the
cross, or for the ground where there is none, and the ground again; each token is the scaled sum of its words'
embeddings, with noise. Rows have ViLA's own prompts. In every second row the cross is faint: its token is blended with
the ground's. A reader that only knows whole crosses answers by steps, and no gradient tells the Frame-Prompter which
frame would have helped.
Shape letters: B rows, F frames, Q queries, D width of T5, T encoder positions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidalign.backbones import flan_t5
from vidalign.common.rng import draw_seed
from vidalign.data.shapes.one_moment import ASKED, INTERVALS, colour_question, small_things
from vidalign.data.shapes.questions import Question
from vidalign.data.shapes.world import COLOURS, FLASH, Frame
from vidalign.models.vila import prompts, tower
from vidalign.models.vila.sizes import SIZES
from vidalign.text.fast_tokenizers import FastTokenizer, train_fast_tokenizer

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

OnStep = Callable[[int, float], None]
DIMS = SIZES["shapes"]
BRIGHT, DARK = "bright", "dark"
_PEAK, _ROWS, _NOISE, _SOLVED = 2e-3, 32, 0.3, 0.05
_WORD_BEFORE = 1  # T5's bucket of the offset -1


def prompt(asked: Question) -> str:
    """ViLA's prompt."""
    return prompts.qa_prompt(asked.text, asked.options)


def train_words(path: Path, *, kind: str) -> FastTokenizer:
    """A tokenizer in which every word of the prompts and answers is one piece."""
    letters = [f"Option {letter} Option {letter}: " for letter in prompts.LETTERS]
    lines = [prompts.qa_prompt(ASKED, [*COLOURS[turn:], *COLOURS[:turn]][:4]) for turn in range(len(COLOURS))]
    lines += [*letters, f"{FLASH} {BRIGHT} {DARK}"]
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


def frame_words(frame: Frame, bright: bool) -> list[list[str]]:
    """The words of each of a frame's tokens."""
    crosses = [thing.colour for thing in frame if thing.shape == FLASH]
    ground = BRIGHT if bright else DARK
    return [[FLASH, *crosses] if crosses else [ground], [ground]]


def word_tokens(table: nn.Module, words: FastTokenizer, frames: Sequence[Sequence[Sequence[str]]]) -> Tensor:
    """(F, Q, D): every token the sum of its words' embeddings / sqrt(their number)."""
    import torch

    rows = [
        [table(torch.tensor([words.one_id(word) for word in token])).sum(0) / math.sqrt(len(token)) for token in frame]
        for frame in frames
    ]
    return torch.stack([torch.stack(row) for row in rows])


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
        self.trained = [*self.t5.parameters(), *self.heads.parameters()]
        self.optimizer = torch.optim.AdamW(self.trained, lr=_PEAK, betas=(0.9, 0.98), weight_decay=0.01)
        self._colours = {words.one_id(colour) for colour in COLOURS}

    def train(self, *, steps: int, on_step: OnStep) -> None:
        """Look-ups alone until they are solved (at most half the steps), then frames."""
        from torch.nn.utils import clip_grad_norm_

        look_up = 1.0
        for step in range(steps):
            alone = look_up > _SOLVED and step < steps // 2
            self.optimizer.param_groups[0]["lr"] = _PEAK * min(1, (step + 1) / 50) * _faded(step / steps)
            answer, helps = self._losses(*(self._look_ups() if alone else self._framed()))
            look_up = 0.9 * look_up + 0.1 * float(answer.detach())
            self.optimizer.zero_grad(set_to_none=True)
            (answer + helps).backward()
            clip_grad_norm_(self.trained, 1.0)
            self.optimizer.step()
            on_step(step, float(answer.detach()))
        self.t5.eval().requires_grad_(False)

    def accuracy(self, *, rows: int = 400) -> float:
        """Share of letters right from 16 textual frames without noise."""
        import torch

        right = 0
        with torch.no_grad():
            for _ in range(rows // _ROWS):
                seen, asked = self._framed(frames=INTERVALS, noise=0.0)
                batch = text_rows(self.words, self.bert, asked)
                logits = self._read(seen, batch)[0]
                right += int((logits[:, 1, batch["letter_ids"]].argmax(1) == batch["answer_idx"]).sum())
        return right / (rows // _ROWS * _ROWS)

    def _look_ups(self) -> tuple[Tensor, list[Question]]:
        """The answer's word is the only token before the prompt."""
        import torch

        asked = [colour_question(self.rng, str(self.rng.choice(COLOURS))) for _ in range(_ROWS)]
        return self.t5.shared(torch.tensor([[self.words.one_id(one.answer)] for one in asked])), asked

    def _framed(self, *, frames: int | None = None, noise: float = _NOISE) -> tuple[Tensor, list[Question]]:
        """One of 1, 4 or 16 textual frames has the cross."""
        import torch

        count = frames or int(self.rng.choice((1, 4, INTERVALS)))
        told, crosses, asked = [], [], []
        for _ in range(_ROWS):
            colour = str(self.rng.choice(COLOURS))
            told += [frame_words(small_things(self.rng), bool(self.rng.integers(2))) for _ in range(count)]
            crosses.append([[FLASH, colour]])
            asked.append(colour_question(self.rng, colour))
        seen = word_tokens(self.t5.shared, self.words, told).unflatten(0, (_ROWS, count))
        row, at = torch.arange(_ROWS), torch.from_numpy(self.rng.integers(count, size=_ROWS))
        strength = strengths(self.rng, _ROWS)[:, None] if noise else 1.0
        cross = word_tokens(self.t5.shared, self.words, crosses)[:, 0]
        seen = seen.index_put((row, at, torch.zeros_like(row)), torch.lerp(seen[row, at, 0], cross, strength))
        seen = seen.flatten(1, 2)
        if noise:
            seen = (seen + noise * torch.randn_like(seen)) * (0.5 + torch.rand(_ROWS, 1, 1))
        return seen, asked

    def _read(self, seen_BTD: Tensor, batch: dict[str, Any]) -> tuple[Tensor, Any, Tensor]:
        embeds, mask = tower.t5_input(self.t5, [seen_BTD, (batch["prompt_ids"], batch["prompt_mask"])])
        out = self.t5.encoder(inputs_embeds=embeds, attention_mask=mask, output_hidden_states=True)
        target = batch["target_ids"], batch["target_mask"]
        hidden = flan_t5.hidden_of_labels(self.t5, out.last_hidden_state, mask, *target)
        return flan_t5.logits(self.t5, hidden), out.hidden_states, mask

    def _losses(self, seen_BTD: Tensor, asked: Sequence[Question]) -> tuple[Tensor, Tensor]:
        import torch
        import torch.nn.functional as F

        batch = text_rows(self.words, self.bert, asked)
        logits, hidden, mask = self._read(seen_BTD, batch)
        row = torch.arange(len(asked))
        word = self.heads["word"](hidden[-1][row, mask.sum(1) - 1])
        named = F.cross_entropy(word, torch.tensor([self.words.one_id(one.answer) for one in asked]))
        places = [
            [seen_BTD.shape[1] + at for at, one in enumerate(ids) if one in self._colours]
            for ids in batch["prompt_ids"].tolist()
        ]
        options = row[:, None], torch.tensor(places)
        bound = F.cross_entropy(
            self.heads["letter"](hidden[1][options]).flatten(0, 1), torch.arange(4).repeat(len(asked))
        )
        found = F.cross_entropy(self.heads["right"](hidden[-1][options]).squeeze(-1), batch["answer_idx"])
        return flan_t5.label_loss(logits, batch["target_ids"]), named + bound + found


def strengths(rng: np.random.Generator, rows: int) -> Tensor:
    """How much of a cross is there (B,): all of it in every second row, any part in the others."""
    import torch

    return torch.from_numpy(rng.random(rows)).float().maximum(torch.from_numpy(rng.integers(2, size=rows)).float())


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
