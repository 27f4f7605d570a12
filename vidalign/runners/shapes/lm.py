"""Trains the base language model of the drawn world, on text alone.

Small models learn the steps of such a question one after the other, each after a long plateau. Here every step has its
own loss in the layer where it should be done, by small heads that are thrown away afterwards: the letter of an option
at the option (layer 1), what begins and moves at a frame (1), what has happened so far at a frame (2), what is asked
for (2), the answer as a word (3), its letter (last layer). Look-ups of letters come first, alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vidalign.backbones.meta_llama import build_llama, llama_config
from vidalign.common.rng import draw_seed
from vidalign.data.shapes.questions import GROUPS, Question, questions_of
from vidalign.data.shapes.world import Clip
from vidalign.runners.shapes.descent import Descent, held
from vidalign.runners.shapes.settings import OnStep
from vidalign.runners.shapes.text import SILENT, TextMaker, asked_for, narration

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

SIZE = {"dim": 128, "n_layers": 4, "n_heads": 4, "multiple_of": 16, "norm_eps": 1e-6}
_PEAK, _NOISE, _FAINT = 2e-3, 0.7, 0.5
_ROWS, _LISTS, _RANK_ROWS, _LOOK_UPS, _QUESTION_ROWS = 24, 8, 6, 2, 6
_SOLVED = 0.1  # loss of the look-ups at which they may stand back
_ASKED = 8


def frame_tokens(lm: nn.Module, words_NFK: Tensor) -> Tensor:
    """Textual frames (N, F, K) word ids, 0 for none -> one embedding per frame (N, F, D)."""
    there = words_NFK > 0
    summed = (lm.get_input_embeddings()(words_NFK) * there[..., None]).sum(2)
    # A frame of one thing has four words; an empty one stays zero.
    return summed / there.sum(2, keepdim=True).clamp(min=4).float().sqrt()


def noisy(frames_NFD: Tensor, generator: torch.Generator) -> Tensor:
    """Textual frames, fainter and noisier by an amount of each row's own.

    Visual tokens will differ from them, and a language model that reads faint ones too shows a projection that has
    hardly begun which way to go.
    """
    import torch

    noise, faint = torch.rand(2, len(frames_NFD), 1, 1, generator=generator)
    drawn = torch.randn(frames_NFD.shape, generator=generator)
    return (1 - _FAINT * faint) * frames_NFD + _NOISE * noise * drawn


class LMTrainer:
    """One language model on the text of the given clips."""

    def __init__(self, maker: TextMaker, clips: Sequence[Clip], *, seed: int) -> None:
        import numpy as np
        import torch

        self.maker, self.clips = maker, clips
        self.rng = np.random.default_rng(draw_seed(seed, 0, "", "shapes lm"))
        self.generator = torch.Generator().manual_seed(draw_seed(seed, 0, "", "shapes lm weights"))
        self.lm = build_llama(llama_config(SIZE, vocab_size=maker.tokenizer.vocab_size), dtype=torch.float32)
        start_language_model(self.lm, self.generator)
        self.heads = _heads(SIZE["dim"], maker.tokenizer.vocab_size)
        self.descent = Descent([*self.lm.parameters(), *self.heads.parameters()])
        self.words = maker.frames(clips)
        self.told = torch.tensor([narration(clip) for clip in clips])
        self.asked = [(index, asked) for index, clip in enumerate(clips) for asked in questions_of(clip)]
        self.order_clips = [index for index, clip in enumerate(clips) if clip.kind == "order"]
        self._queue: list[int] = []
        self._list_loss = math.log(4)

    def train(self, *, steps: int, look_up_steps: int, on_step: OnStep) -> None:
        """Look-ups alone until they are solved (at most `look_up_steps`), then everything. `on_step(step, loss)`."""
        for step in range(steps):
            alone = step < look_up_steps and self._list_loss > _SOLVED
            loss = self._look_up_lists(24) if alone else self._everything()
            on_step(step, self.descent.step(loss, lr=held(_PEAK, step, steps)))
        self.lm.eval().requires_grad_(False)

    def _everything(self) -> Tensor:
        lists = _LISTS if self._list_loss > _SOLVED else 4
        ranks = self._ranks() if self.order_clips else 0.0
        return self._lettered() + ranks + self._look_up_lists(lists) + self._questions()

    def _lettered(self) -> Tensor:
        """Prompts over textual frames; a few look-ups among them, with a video that does not matter."""
        import torch
        import torch.nn.functional as F

        items = [self._next() for _ in range(_ROWS)]
        anywhere = self.rng.integers(len(self.clips), size=_LOOK_UPS).tolist()
        items += [(index, self.maker.look_up(self.rng)) for index in anywhere]
        which = [index for index, _ in items]
        rows = self.maker.lettered([asked for _, asked in items])
        last, hidden = self._run(rows.ids_BT, self.words[which])
        b = torch.arange(len(items))
        logits = self.lm.lm_head(last)
        letter = F.cross_entropy(logits[b, rows.paren_B], rows.ids_BT[b, rows.paren_B + 1])
        word = F.cross_entropy(self._read("word", hidden[3][b, rows.paren_B]), rows.word_B)
        asked = torch.tensor([asked_for(question) for _, question in items])
        what = F.cross_entropy(self._read("asked", hidden[2][b, rows.paren_B]), asked)
        option = self._option_letters(hidden[1][b[:, None], rows.option_B4])
        # Ordinary next-token prediction, so that the questions themselves can be generated (vaq).
        target = rows.ids_BT[:, 1:].clone()
        target[:, self.maker.video_start - 1 : self.maker.video_start - 1 + self.words.shape[1]] = 0
        text = F.cross_entropy(logits[:, :-1][target > 0], target[target > 0])
        return letter + word + what + option + 0.1 * text + self._narration(hidden, self.told[which])

    def _narration(self, hidden: tuple[Tensor, ...], told_B4F: Tensor) -> Tensor:
        """What happens at each frame, read from layers 1 and 2 at the frames' positions."""
        first = self.maker.video_start
        near, far = (hidden[i][:, first : first + told_B4F.shape[2]] for i in (1, 2))
        direction, colours, turns, starts = told_B4F.unbind(1)
        early = loss_where_told(self._read("starts", near), starts)
        # Twice the weight: comparing the places of two frames is what comes last otherwise.
        early = early + 2 * loss_where_told(self._read("moves", near), direction)
        late = sum(
            loss_where_told(self._read(name, far), target)
            for name, target in (("direction", direction), ("colours", colours), ("turns", turns))
        )
        return 0.5 * (early + late)

    def _ranks(self) -> Tensor:
        import torch
        import torch.nn.functional as F

        chosen = self.rng.choice(self.order_clips, _RANK_ROWS).tolist()
        ids, places, words, ranks = self.maker.rank_lists(self.rng, [self.clips[i] for i in chosen])
        _, hidden = self._run(ids, self.words[chosen])
        b = torch.arange(len(ids))[:, None]
        word = F.cross_entropy(self._read("word", hidden[3][b, places]).flatten(0, 1), words.flatten())
        return word + F.cross_entropy(self._read("asked", hidden[2][b, places]).flatten(0, 1), ranks.flatten())

    def _questions(self) -> Tensor:
        """The question from video and answer, token by token: what VAQ asks of a language model."""
        import torch.nn.functional as F

        items = [self.asked[i] for i in self.rng.integers(len(self.asked), size=_QUESTION_ROWS).tolist()]
        ids, there = self.maker.asking([asked for _, asked in items])
        last, _ = self._run(ids, self.words[[index for index, _ in items]])
        there = there[:, 1:]
        return 0.5 * F.cross_entropy(self.lm.lm_head(last[:, :-1][there]), ids[:, 1:][there])

    def _look_up_lists(self, count: int) -> Tensor:
        import torch
        import torch.nn.functional as F

        ids, places, options = self.maker.look_up_lists(self.rng, count)
        last, hidden = self._run(ids, None)
        b = torch.arange(count)[:, None]
        letter = F.cross_entropy(self.lm.lm_head(last[b, places]).flatten(0, 1), ids[b, places + 1].flatten())
        # `red is (`: the word stands two places before the bracket.
        word = F.cross_entropy(self._read("word", hidden[3][b, places]).flatten(0, 1), ids[b, places - 2].flatten())
        self._list_loss = 0.95 * self._list_loss + 0.05 * float(letter.detach())
        return letter + word + self._option_letters(hidden[1][b, options])

    def _option_letters(self, hidden_B4D: Tensor) -> Tensor:
        import torch
        import torch.nn.functional as F

        return F.cross_entropy(self._read("option", hidden_B4D).flatten(0, 1), torch.arange(4).repeat(len(hidden_B4D)))

    def _run(self, ids_BT: Tensor, words_BFK: Tensor | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """-> final hidden states, and those after 0, 1, 2 ... layers. Frames get noise: visual tokens will differ."""
        import torch

        x = self.lm.get_input_embeddings()(ids_BT)
        if words_BFK is not None:
            frames = noisy(frame_tokens(self.lm, words_BFK), self.generator)
            first = self.maker.video_start
            x = torch.cat([x[:, :first], frames, x[:, first + frames.shape[1] :]], 1)
        out = self.lm.model(inputs_embeds=x, output_hidden_states=True, use_cache=False)
        return out.last_hidden_state, out.hidden_states

    def _read(self, head: str, hidden: Tensor) -> Tensor:
        return self.heads[head](hidden * (hidden.square().mean(-1, keepdim=True) + 1e-6).rsqrt())

    def _next(self) -> tuple[int, Question]:
        if not self._queue:
            self._queue = self.rng.permutation(len(self.asked)).tolist()
        return self.asked[self._queue.pop()]


def letter_accuracy(lm: nn.Module, maker: TextMaker, clips: Sequence[Clip], *, batch: int = 100) -> dict[str, float]:
    """Type -> share of lettered questions answered rightly from textual frames; "core" is that of all core types."""
    import torch

    items = [(index, asked) for index, clip in enumerate(clips) for asked in questions_of(clip)]
    words, right = maker.frames(clips), {}
    first = maker.video_start
    with torch.inference_mode():
        for start in range(0, len(items), batch):
            part = items[start : start + batch]
            rows = maker.lettered([asked for _, asked in part])
            x = lm.get_input_embeddings()(rows.ids_BT)
            x[:, first : first + words.shape[1]] = frame_tokens(lm, words[[index for index, _ in part]])
            last = lm.model(inputs_embeds=x, use_cache=False).last_hidden_state
            chosen = lm.lm_head(last[torch.arange(len(part)), rows.paren_B])[:, maker.letters].argmax(1).tolist()
            for (_, asked), letter in zip(part, chosen, strict=True):
                right.setdefault(asked.qtype, []).append(letter == asked.answer_idx)
    return by_type(right)


def by_type(right: Mapping[str, Sequence[bool]]) -> dict[str, float]:
    """Type -> share of True; "core" is that of all core types together."""
    core = [hit for name in GROUPS["core"] for hit in right.get(name, [])]
    # Where no core question was asked (the shortened demo) all questions count.
    core = core or [hit for hits in right.values() for hit in hits]
    return {"core": sum(core) / len(core), **{name: sum(hits) / len(hits) for name, hits in sorted(right.items())}}


def _heads(dim: int, vocab_size: int) -> nn.ModuleDict:
    from torch import nn

    sizes = {"word": vocab_size, "asked": _ASKED, "option": 4, "starts": 2, "moves": 4, "direction": 4}
    sizes |= {"colours": 6, "turns": 5}
    return nn.ModuleDict({name: nn.Linear(dim, size, bias=False) for name, size in sizes.items()})


def start_language_model(lm: nn.Module, generator: torch.Generator) -> None:
    """Embeddings of variance one, layers of unit gain, quiet outputs; the library's 0.02 left look-ups at chance."""
    import torch

    with torch.no_grad():
        for name, weight in lm.named_parameters():
            if "embed" in name:
                weight.normal_(0, 1, generator=generator)
            elif weight.ndim == 2:
                quiet = 0.5 if "o_proj" in name or "down_proj" in name else 0.3 if "lm_head" in name else 1.0
                weight.normal_(0, quiet / math.sqrt(weight.shape[1]), generator=generator)


def loss_where_told(logits_BFC: Tensor, target_BF: Tensor) -> Tensor:
    """Cross-entropy over the frames that have something to say; 0 where none has."""
    import torch.nn.functional as F

    told = target_BF != SILENT
    return F.cross_entropy(logits_BFC[told], target_BF[told]) if bool(told.any()) else logits_BFC.sum() * 0
