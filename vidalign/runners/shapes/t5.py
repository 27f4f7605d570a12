"""Trains the base T5 of the drawn world, on text alone.

The rows have the layout of ViLA's prompts (arXiv 2312.08367): textual frames first, then question, options, the closing
sentence; the decoder says `Option A`. As in lm.py the steps of a question get losses of their own, by small
heads that are thrown away: what begins and moves at a frame, what has happened so far, and the answer as a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidalign.backbones.flan_t5 import build_flan_t5, flan_t5_config
from vidalign.common.rng import draw_seed
from vidalign.data.shapes.questions import Question, questions_of
from vidalign.data.shapes.world import NUM_SLOTS, Clip
from vidalign.runners.shapes.descent import Descent, held
from vidalign.runners.shapes.lm import by_type, frame_tokens, loss_where_told, noisy
from vidalign.runners.shapes.settings import OnStep
from vidalign.runners.shapes.text import WORDS, TextMaker, narration
from vidalign.text.fast_tokenizers import FastTokenizer, train_fast_tokenizer
from vidalign.text.prompt_texts import LETTERS

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

SIZES = {"d_model": 128, "d_kv": 32, "num_heads": 4, "d_ff": 256, "num_layers": 3, "num_decoder_layers": 1}
CLOSING = "Considering the information presented in the frame, select the correct answer from the options."
_PEAK, _ROWS, _LOOK_UPS, _SOLVED = 2e-3, 24, 6, 0.1


def t5_prompt(asked: Question) -> str:
    """ViLA's prompt for one question."""
    options = " ".join(f"Option {letter}: {text}" for letter, text in zip(LETTERS, asked.options, strict=False))
    return f"Question: {asked.text.capitalize()}? {options} {CLOSING}"


def train_t5_tokenizer(path: Path, clips: Sequence[Clip]) -> FastTokenizer:
    """Byte pairs, enough of them for every word of the prompts and captions to be one piece."""
    asked = [question for clip in clips for question in questions_of(clip)]
    lines = [t5_prompt(question) for question in asked] + [text for clip in clips for text in clip.captions]
    train_fast_tokenizer(
        path, [*lines, *["Option A Option B Option C Option D Frame: Which one is"] * 20], kind="t5", pieces=600
    )
    return FastTokenizer(path, kind="t5")


class T5Trainer:
    """One T5 on the text of the given clips. `words` gives the ids, `maker` the look-ups."""

    def __init__(self, words: FastTokenizer, maker: TextMaker, clips: Sequence[Clip], *, seed: int) -> None:
        import numpy as np
        import torch

        self.words, self.maker, self.clips = words, maker, clips
        self.rng = np.random.default_rng(draw_seed(seed, 0, "", "shapes t5"))
        self.generator = torch.Generator().manual_seed(draw_seed(seed, 0, "", "shapes t5 weights"))
        self.t5 = build_flan_t5(flan_t5_config({"vocab_size": words.vocab_size, **SIZES}, dropout=0.0))
        _start(self.t5, self.generator)
        self.heads = _heads(SIZES["d_model"], words.vocab_size)
        self.descent = Descent([*self.t5.parameters(), *self.heads.parameters()])
        self.frames = word_frames(words, maker, clips)
        self.told = torch.tensor([narration(clip) for clip in clips])
        self.asked = [(index, asked) for index, clip in enumerate(clips) for asked in questions_of(clip)]
        self._queue: list[int] = []
        self._look_up_loss = 2.0

    def train(self, *, steps: int, look_up_steps: int, on_step: OnStep) -> None:
        """Look-ups alone until they are solved (at most `look_up_steps`), then everything."""
        for step in range(steps):
            alone = step < look_up_steps and self._look_up_loss > _SOLVED
            loss = self._step(*((0, _ROWS) if alone else (_ROWS, _LOOK_UPS)))
            on_step(step, self.descent.step(loss, lr=held(_PEAK, step, steps)))
        self.t5.eval().requires_grad_(False)

    def _step(self, rows: int, look_ups: int) -> Tensor:
        import torch
        import torch.nn.functional as F

        items = [self._next() for _ in range(rows)]
        anywhere = self.rng.integers(len(self.clips), size=look_ups).tolist()
        items += [(index, self.maker.look_up(self.rng)) for index in anywhere]
        which = [index for index, _ in items]
        asked = [question for _, question in items]
        hidden, mask = encode(self.t5, self.words, asked, self.frames[which], generator=self.generator)
        answer_B3 = torch.tensor([self.words.encode(f"Option {LETTERS[q.answer_idx]}") for q in asked])
        logits_B3V = decode(self.t5, answer_B3[:, :-1], hidden[-1], mask)
        loss_B3 = F.cross_entropy(logits_B3V.transpose(1, 2), answer_B3, reduction="none")
        self._look_up_loss = 0.95 * self._look_up_loss + 0.05 * float(loss_B3[rows:, 1].detach().mean())
        helps = self._options(hidden[1], asked) + self._answer_word(hidden[-1], mask, asked)
        if rows:
            helps = helps + self._narration(hidden, self.told[which[:rows]])
        return loss_B3.mean(0).sum() + helps

    def _options(self, hidden_BTD: Tensor, asked: Sequence[Question]) -> Tensor:
        """Each option's word knows its own letter after one layer."""
        import torch
        import torch.nn.functional as F

        read = self.heads["option"](hidden_BTD[torch.arange(len(asked))[:, None], self.option_places(asked)])
        return F.cross_entropy(read.flatten(0, 1), torch.arange(4).repeat(len(asked)))

    def option_places(self, asked: Sequence[Question]) -> Tensor:
        """Position of each option's word in its row, frames included (B, 4)."""
        import torch

        places = []
        for question in asked:
            parts = t5_prompt(question).split(" Option ")
            # Words are split at blanks, so the ids of a text's beginning are the beginning of its ids.
            fronts = [" Option ".join([*parts[: i + 1], f"{LETTERS[i]}:"]) for i in range(4)]
            places.append([NUM_SLOTS + len(self.words.words(front)) for front in fronts])
        return torch.tensor(places)

    def _answer_word(self, hidden_BTD: Tensor, mask_BT: Tensor, asked: Sequence[Question]) -> Tensor:
        """The answer as a word, read at the row's end."""
        import torch
        import torch.nn.functional as F

        last = mask_BT.sum(1) - 1
        target = torch.tensor([self.words.one_id(question.answer) for question in asked])
        return F.cross_entropy(self.heads["word"](hidden_BTD[torch.arange(len(asked)), last]), target)

    def _narration(self, hidden: Sequence[Tensor], told_B4F: Tensor) -> Tensor:
        """What happens at each frame, read from layers 1 and 2 at the frames' positions."""
        near, far = (hidden[i][: len(told_B4F), :NUM_SLOTS] for i in (1, 2))
        direction, colours, turns, starts = told_B4F.unbind(1)
        early = loss_where_told(self.heads["starts"](near), starts)
        early = early + loss_where_told(self.heads["moves"](near), direction)
        late = sum(
            loss_where_told(self.heads[name](far), target)
            for name, target in (("direction", direction), ("colours", colours), ("turns", turns))
        )
        return 0.5 * (early + late)

    def _next(self) -> tuple[int, Question]:
        if not self._queue:
            self._queue = self.rng.permutation(len(self.asked)).tolist()
        return self.asked[self._queue.pop()]


def encode(
    t5: nn.Module, words: FastTokenizer, asked: Sequence[Question], frames_BFK: Tensor, *, generator: Any = None
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Hidden states of the encoder after 0, 1, 2 ... layers, and the mask (B, T). Frames get noise with a generator."""
    import torch

    ids_BT, there_BT = words.pad([words.encode(t5_prompt(question)) for question in asked])
    seen = frame_tokens(t5, frames_BFK)
    if generator is not None:
        seen = noisy(seen, generator)
    mask = torch.cat([torch.ones(seen.shape[:2], dtype=torch.long), there_BT], 1)
    x = torch.cat([seen, t5.get_input_embeddings()(ids_BT)], 1)
    out = t5.encoder(inputs_embeds=x, attention_mask=mask, output_hidden_states=True)
    return out.hidden_states, mask


def decode(t5: nn.Module, said_BL: Tensor, hidden_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """Logits (B, L + 1, V) of each word of an answer and of what follows it, from what was said so far."""
    import torch

    start = torch.full((len(said_BL), 1), t5.config.decoder_start_token_id)
    said = torch.cat([start, said_BL], 1)
    out = t5.decoder(input_ids=said, encoder_hidden_states=hidden_BTD, encoder_attention_mask=mask_BT)
    return t5.lm_head(out.last_hidden_state)


def t5_letter_accuracy(
    t5: nn.Module, words: FastTokenizer, maker: TextMaker, clips: Sequence[Clip]
) -> dict[str, float]:
    """Type -> share of questions whose letter after `Option` is right, from textual frames; "core": all core types."""
    import torch

    items = [(index, asked) for index, clip in enumerate(clips) for asked in questions_of(clip)]
    frames, right = word_frames(words, maker, clips), {}
    letters = [words.one_id(letter) for letter in LETTERS[:4]]
    with torch.inference_mode():
        for start in range(0, len(items), 100):
            part = items[start : start + 100]
            hidden, mask = encode(t5, words, [asked for _, asked in part], frames[[index for index, _ in part]])
            said = torch.tensor([words.words("Option")]).expand(len(part), -1)
            chosen = decode(t5, said, hidden[-1], mask)[:, -1, letters].argmax(1).tolist()
            for (_, asked), letter in zip(part, chosen, strict=True):
                right.setdefault(asked.qtype, []).append(letter == asked.answer_idx)
    return by_type(right)


def word_frames(words: FastTokenizer, maker: TextMaker, clips: Sequence[Clip]) -> Tensor:
    """Textual frames (N, F, K) in this tokenizer's ids, 0 where there is no word more."""
    return maker.frames(clips, word_id={word: words.one_id(word) for word in WORDS})


def _heads(dim: int, vocab_size: int) -> nn.ModuleDict:
    from torch import nn

    sizes = {"word": vocab_size, "option": 4, "starts": 2, "moves": 4, "direction": 4, "colours": 6, "turns": 5}
    return nn.ModuleDict({name: nn.Linear(dim, size, bias=False) for name, size in sizes.items()})


def _start(t5: nn.Module, generator: torch.Generator) -> None:
    """Embeddings of variance one and layers of unit gain; queries are quieter, because T5 does not divide scores."""
    import torch

    with torch.no_grad():
        for name, weight in t5.named_parameters():
            if "shared" in name:
                weight.normal_(0, 1, generator=generator)
            elif "relative_attention_bias" in name:
                weight.normal_(0, 0.1, generator=generator)
            elif weight.ndim == 2:
                quiet = 0.5 if name.endswith(("o.weight", "wo.weight")) else 0.3 if "lm_head" in name else 1.0
                quiet = SIZES["d_kv"] ** -0.5 if name.endswith(".q.weight") else quiet
                weight.normal_(0, quiet * weight.shape[1] ** -0.5, generator=generator)
