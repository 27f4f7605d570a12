"""Trains the chat model of the drawn world: Video-Panda's language model before it has seen a picture, on text alone.

The rows are Video-Panda's conversations (arXiv 2412.18609): in the place of a frame's visual tokens stand textual ones,
in the same order: one for the whole frame, then for every cell of a coarse grid what is in it, each row with its end.
A token is the embeddings of the words of what it shows, added up: what a thing looks like and, in a cell, at which
edges of the cell it lies. Which cell that is, only the token's place in its frame tells: STAB knows no places, so the
tokens of a picture cannot say more either. As in lm.py the steps of an answer get losses of their own in the
layers where they should be done, by small heads that are thrown away.

Legend: N clips, F frames, M tokens of a frame, H things, W words of a thing, D width, S positions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidalign.backbones.meta_llama import build_llama, llama_config
from vidalign.common.rng import draw_seed
from vidalign.data.shapes.questions import RANKS, questions_of
from vidalign.data.shapes.samples import sentence
from vidalign.data.shapes.world import (
    COLOURS,
    COLUMNS,
    DIRECTIONS,
    HARD,
    NUM_FRAMES,
    ROWS,
    SIZE_PX,
    WHITE,
    Clip,
    Thing,
    make_clip,
)
from vidalign.models.video_panda.processor import CAPTION_REQUEST
from vidalign.models.video_panda.prompts import TEMPLATES, VIDEO, chat, label, rewritten, tokenize
from vidalign.models.video_panda.splice import plan_splice, splice
from vidalign.runners.shapes.descent import Descent, held
from vidalign.runners.shapes.lm import by_type, loss_where_told, start_language_model
from vidalign.runners.shapes.settings import OnStep
from vidalign.runners.shapes.text import SILENT, WORDS
from vidalign.text.chat_tokens import ChatTokenizer
from vidalign.text.tokenizers import LlamaTokenizer, train_tokenizer

if TYPE_CHECKING:
    from torch import Tensor, nn

SIZE = {"dim": 128, "n_layers": 5, "n_heads": 4, "multiple_of": 16, "norm_eps": 1e-6}
SIDE = 2
FRAME_TOKENS = 1 + SIDE * (SIDE + 1)
# What the official rule takes of a clip of 30 frames at 10 per second (media/sampling.py: one_per_second).
FRAMES = tuple(range(0, NUM_FRAMES, 4))
_PEAK, _NOISE, _FAINT, _ROWS = 2e-3, 0.5, 0.5, 16
_MOST_THINGS = 5
# Said of a thing within a cell.
_EDGES = (ROWS[0], ROWS[-1], COLUMNS[0], COLUMNS[-1])
# Order comes last: its clips are half of the core ones. Every eighth clip is a hard one.
_MIX = (*("order", "direction", "order", "count", "order", "direction", "count") * 5, *HARD)
_ASKED = 7
_SHOWN = (*COLOURS, WHITE)


def train_chat_tokenizer(path: Path, clips: Sequence[Clip]) -> ChatTokenizer:
    """Every word of the drawn world and of the template becomes one piece."""
    lines = [f"{system} USER: \n ASSISTANT: " for system in TEMPLATES.values()] * 300
    lines += [f"{CAPTION_REQUEST} ASSISTANT:"] * 100
    for clip in clips:
        lines += [f"{asked.text} {asked.answer}" for asked in questions_of(clip)] + [sentence(clip)]
    lines += [" ".join((*WORDS, *RANKS))] * 50
    train_tokenizer(path, lines, vocab_size=800)
    return ChatTokenizer(LlamaTokenizer(path), legacy=True)


def chat_clips(seed: int, count: int) -> list[Clip]:
    """The clips that the chat model reads about; no train, val or test clip of any seed is among them."""
    return [make_clip(seed, "bases_chat", i, kind=_MIX[i % len(_MIX)]) for i in range(count)]


class ChatMaker:
    """Clips -> conversations as Video-Panda trains on them, and textual frames."""

    def __init__(self, tokenizer: ChatTokenizer) -> None:
        self.tokenizer = tokenizer
        self.word_id = {word: tokenizer.encode(word)[1] for word in WORDS}
        self.row_id = tokenizer.encode("\n")[-1]
        self._rows: dict[Any, tuple[Tensor, Tensor]] = {}

    def turns(self, clip: Clip, rng: Any) -> tuple[str, ...]:
        """Questions about a clip and their answers in any order, the request for its caption now and then."""
        pairs = [(asked.text, asked.answer) for asked in questions_of(clip)]
        if clip.kind == "order":
            ranks = zip(RANKS, clip.facts["colours"], strict=True)
            pairs = [(f"which colour appears {rank}", colour) for rank, colour in ranks]
        if rng.random() < 0.3:
            pairs.append((CAPTION_REQUEST, sentence(clip)))
        return tuple(text for i in rng.permutation(len(pairs)) for text in pairs[i])

    def row(self, turns: Sequence[str], template: str = "v1") -> tuple[Tensor, Tensor]:
        """(ids, labels) of one conversation over a clip."""
        import torch

        key = (*turns, template)
        if key not in self._rows:
            said = [{"from": ("human", "gpt")[n % 2], "value": text} for n, text in enumerate(turns)]
            said[0]["value"] = f"{VIDEO}\n{said[0]['value']}"
            prompt = chat(said, rewritten(said, num_frames=len(FRAMES), visual=True), template=template)
            ids = tokenize(prompt, self.tokenizer)
            self._rows[key] = torch.tensor(ids), torch.tensor(label(prompt, ids, self.tokenizer))
        return self._rows[key]

    def plan(self, rows: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        """Where the visual tokens of the rows stand, see models/video_panda/splice.py."""
        counts = [[FRAME_TOKENS] * len(FRAMES)] * len(rows)
        return plan_splice([ids for ids, _ in rows], [marks for _, marks in rows], counts)

    def seen(self, clips: Sequence[Clip]) -> tuple[Tensor, Tensor]:
        """Word ids (N, F, H, 2) of every thing, and how much of it each token shows (N, F, M, H), rows' ends left out.

        The frame's token shows everything there is. Behind the things come the four edges of a cell, as if they were
        things: where in a cell its things lie.
        """
        import torch

        edges = len(_EDGES)
        words = torch.zeros(len(clips), len(FRAMES), _MOST_THINGS + edges, 2, dtype=torch.long)
        words[..., _MOST_THINGS:, 0] = torch.tensor([self.word_id[name] for name in _EDGES])
        shares = torch.zeros(len(clips), len(FRAMES), FRAME_TOKENS, _MOST_THINGS + edges)
        for n, clip in enumerate(clips):
            for f, place in enumerate(FRAMES):
                for h, thing in enumerate(clip.frames[place]):
                    words[n, f, h] = torch.tensor([self.word_id.get(name, 0) for name in (thing.colour, thing.shape)])
                    quieter = 1 / math.sqrt(len(clip.frames[place]))
                    shares[n, f, :, h] = torch.tensor(token_shares(thing)) * quieter
                    shares[n, f, :, _MOST_THINGS:] += torch.tensor(token_edges(thing)) * quieter
        return words, shares


def token_shares(thing: Thing) -> list[float]:
    """How much of a thing the tokens of a frame show, in [0, 1]: all, then cell by cell; 0 for the rows' ends."""
    return _shown(float(thing.x), float(thing.y), thing.radius)[0]


def token_edges(thing: Thing) -> list[list[float]]:
    """(M, 4): how near the edges of each cell (top, bottom, left, right) its part of a thing lies, times that part."""
    return _shown(float(thing.x), float(thing.y), thing.radius)[1]


@lru_cache(maxsize=4096)
def _shown(x: float, y: float, radius: float) -> tuple[list[float], list[list[float]]]:
    """Of a round thing: most things stand still, so the last ones come again."""
    import numpy as np

    cell, axis = SIZE_PX // SIDE, np.arange(SIZE_PX) + 0.5
    dx, dy = ((axis - at + SIZE_PX / 2) % SIZE_PX - SIZE_PX / 2 for at in (x, y))
    inside = (dx[None] ** 2 + dy[:, None] ** 2 <= radius**2).reshape(SIDE, cell, SIDE, cell)
    pixels = inside.sum((1, 3))
    within = (np.arange(cell) + 0.5) / cell
    # The middle half of a cell goes from one edge to the other: a thing's centre is seldom nearer to an edge.
    down, right = (
        np.clip(2 * np.einsum(by, inside, within) / np.maximum(pixels, 1) - 0.5, 0, 1)
        for by in ("rycx,y->rc", "rycx,x->rc")
    )
    shares = np.pad(np.sqrt(pixels / pixels.sum()), ((0, 0), (0, 1)))
    places = np.pad(np.stack([1 - down, down, 1 - right, right], -1), ((0, 0), (0, 1), (0, 0)))
    edges = (shares[..., None] * places).reshape(-1, len(_EDGES))
    return [1.0, *shares.flatten().tolist()], [[0.0] * len(_EDGES), *edges.tolist()]


def textual_frames(lm: nn.Module, words_NFHW: Tensor, shares_NFMH: Tensor, *, row_id: int) -> Tensor:
    """(N, F, M, D): the tokens of textual frames."""
    import torch

    embed = lm.get_input_embeddings()
    things_NFHD = (embed(words_NFHW) * (words_NFHW > 0)[..., None]).sum(-2) / 2
    tokens = torch.einsum("nfmh,nfhd->nfmd", shares_NFMH, things_NFHD)
    ends = torch.zeros(FRAME_TOKENS, 1)
    ends[SIDE + 1 :: SIDE + 1] = 1.0
    return tokens + ends * embed.weight[row_id]


class ChatTrainer:
    """One language model on the text of the given clips."""

    def __init__(self, maker: ChatMaker, clips: Sequence[Clip], *, seed: int) -> None:
        import numpy as np
        import torch

        self.maker, self.clips = maker, clips
        self.rng = np.random.default_rng(draw_seed(seed, 0, "", "shapes chat"))
        self.generator = torch.Generator().manual_seed(draw_seed(seed, 0, "", "shapes chat weights"))
        self.lm = build_llama(llama_config(SIZE, vocab_size=maker.tokenizer.vocab_size), dtype=torch.float32)
        start_language_model(self.lm, self.generator)
        self.heads = _heads(SIZE["dim"])
        self.descent = Descent([*self.lm.parameters(), *self.heads.parameters()])
        self.words, self.shares = maker.seen(clips)
        self.told = torch.tensor([told(clip) for clip in clips])
        self._queue: list[int] = []

    def train(self, *, steps: int, on_step: OnStep) -> None:
        """`on_step(step, loss)`."""
        for step in range(steps):
            loss = self._step()
            on_step(step, self.descent.step(loss, lr=held(_PEAK, step, steps)))
        self.lm.eval().requires_grad_(False)

    def _step(self) -> Tensor:
        import torch.nn.functional as F

        which = [self._next() for _ in range(_ROWS)]
        templates = list(TEMPLATES)
        turns = [self.maker.turns(self.clips[i], self.rng) for i in which]
        rows = [self.maker.row(one, templates[int(self.rng.integers(2))]) for one in turns]
        plan = self.maker.plan(rows)
        frames = self._noisy(textual_frames(self.lm, self.words[which], self.shares[which], row_id=self.maker.row_id))
        x = splice(self.lm.get_input_embeddings(), frames.flatten(0, 2), plan)
        out = self.lm.model(inputs_embeds=x, output_hidden_states=True, use_cache=False)
        logits = self.lm.lm_head(out.last_hidden_state.flatten(0, 1)[plan["predict_rows"]])
        answers_M = F.cross_entropy(logits, plan["targets"], reduction="none")
        # The words that end questions' answers; the rest are end tokens and captions.
        first, asked = self._first_words(turns, plan)
        hidden = [h.flatten(0, 1) for h in out.hidden_states]
        what = F.cross_entropy(self._read("asked", hidden[2][plan["predict_rows"][first]]), asked)
        ends = plan["frame_rows"].view(len(which), -1) + FRAME_TOKENS - 1
        narration = self._narration([h[ends] for h in hidden], self.told[which])
        return answers_M.mean() + 2 * answers_M[first].mean() + 0.5 * what + narration

    def _first_words(self, turns: Sequence[Sequence[str]], plan: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Places among the trained tokens of every answer's first word, and what its question asks."""
        import torch

        places, kinds, at = [], [], 0
        for conversation in turns:
            for question, answer in zip(conversation[::2], conversation[1::2], strict=True):
                places.append(at)
                kinds.append(asked_for(question))
                at += len(self.maker.tokenizer.encode(answer))  # the begin token stands for the end token
        assert at == len(plan["targets"]), "every answer is trained"
        return torch.tensor(places), torch.tensor(kinds)

    def _narration(self, hidden_BFD: Sequence[Tensor], told_BNF: Tensor) -> Tensor:
        """What is seen, what begins, what has happened so far: read at the frames' last tokens, layer by layer."""
        import torch.nn.functional as F

        colour, row, column, starts, moves, colours, turns, *ranks = told_BNF.unbind(1)
        # The place in the frame before, which a move is to be told from.
        row_before, column_before = (F.pad(place[:, :-1], (1, 0), value=SILENT) for place in (row, column))
        losses = [
            loss_where_told(self._read(name, hidden_BFD[layer]), target)
            for name, layer, target in (
                ("colour", 1, colour),
                ("row", 1, row),
                ("column", 1, column),
                ("row_before", 2, row_before),
                ("column_before", 2, column_before),
                ("starts", 2, starts),
                ("moves", 3, moves),
                ("moves", 3, moves),
                ("colours", 3, colours),
                ("turns", 3, turns),
                *((rank, 4, target) for rank, target in zip(RANKS, ranks, strict=True)),
            )
        ]
        return 0.5 * sum(losses)

    def _noisy(self, frames_BFMD: Tensor) -> Tensor:
        """Fainter and noisier by an amount of each row's own; half of the rows lack the frames' own tokens."""
        import torch

        noise, faint, whole = torch.rand(3, len(frames_BFMD), 1, 1, 1, generator=self.generator)
        drawn = torch.randn(frames_BFMD.shape, generator=self.generator)
        kept = torch.ones_like(frames_BFMD)
        kept[:, :, :1] = (whole > 0.5).float()
        return (1 - _FAINT * faint) * kept * frames_BFMD + _NOISE * noise * drawn

    def _read(self, head: str, hidden: Tensor) -> Tensor:
        return self.heads[head](hidden * (hidden.square().mean(-1, keepdim=True) + 1e-6).rsqrt())

    def _next(self) -> int:
        if not self._queue:
            self._queue = self.rng.permutation(len(self.clips)).tolist()
        return self._queue.pop()


def asked_for(question: str) -> int:
    """Class of what a question asks: four ranks, direction, count, anything else."""
    known = {"which way": 4, "how many": 5}
    last = question.split()[-1]
    return RANKS.index(last) if last in RANKS else known.get(" ".join(question.split()[:2]), _ASKED - 1)


def told(clip: Clip) -> list[list[int]]:
    """What is true at every frame: [colour, row, column, starts, moves, colours so far, turns so far, the first colour
    so far, the second, the third, the fourth] x F; SILENT where there is nothing to say.
    """
    seen = [clip.frames[place] for place in FRAMES]
    silent = [SILENT] * len(seen)
    single = all(len(frame) < 2 for frame in seen)
    colour = [_SHOWN.index(f[0].colour) if f else len(_SHOWN) for f in seen] if single else silent
    row = [ROWS.index(f[0].place.split()[0]) if f else SILENT for f in seen] if single else silent
    column = [COLUMNS.index(f[0].place.split()[1]) if f else SILENT for f in seen] if single else silent
    moves = silent
    if clip.kind == "direction":
        moves = [SILENT, *[list(DIRECTIONS).index(clip.facts["direction"])] * (len(seen) - 1)]
    starts = colours = turns = silent
    if clip.kind in ("order", "neighbours", "count"):
        shown = [frame[0].colour if frame else None for frame in seen]
        if clip.kind == "count":
            shown = [name if name == WHITE else None for name in shown]
        starts = [int(c is not None and c != p) for c, p in zip(shown, [None, *shown[:-1]], strict=True)]
        so_far = [sum(starts[: place + 1]) for place in range(len(seen))]
        colours, turns = (silent, so_far) if clip.kind == "count" else (so_far, silent)
    ranks = [silent] * len(RANKS)
    if colours is not silent:
        order = [COLOURS.index(name) for name, begins in zip(shown, starts, strict=True) if begins]
        ranks = [[order[rank] if seen > rank else SILENT for seen in colours] for rank in range(len(RANKS))]
    return [colour, row, column, starts, moves, colours, turns, *ranks]


def said_rightly(
    lm: nn.Module, maker: ChatMaker, clips: Sequence[Clip], *, frames: Tensor | None = None
) -> dict[str, float]:
    """Type -> share of questions whose answer's first word is the most likely one; "core" is that of all core types.

    frames: (N, F, M, D) in place of the clips' textual frames.
    """
    import torch

    words, shares = maker.seen(clips)
    right: dict[str, list[bool]] = {}
    items = [(index, asked) for index, clip in enumerate(clips) for asked in questions_of(clip)]
    with torch.inference_mode():
        for start in range(0, len(items), 100):
            part = items[start : start + 100]
            which = [index for index, _ in part]
            plan = maker.plan([maker.row((asked.text, asked.answer), "videopanda_v1") for _, asked in part])
            if frames is None:
                tokens = textual_frames(lm, words[which], shares[which], row_id=maker.row_id)
            else:
                tokens = frames[which]
            x = splice(lm.get_input_embeddings(), tokens.flatten(0, 2), plan)
            hidden = lm.model(inputs_embeds=x, use_cache=False).last_hidden_state.flatten(0, 1)
            made = lm.lm_head(hidden[plan["predict_rows"]]).argmax(1)
            row_of = plan["predict_rows"] // plan["mask"].shape[1]
            for number, (_, asked) in enumerate(part):
                mine = row_of == number
                right.setdefault(asked.qtype, []).append(bool((made[mine] == plan["targets"][mine]).all()))
    return by_type(right)


def _heads(dim: int) -> nn.ModuleDict:
    from torch import nn

    sizes = {"colour": len(_SHOWN) + 1, "row": len(ROWS), "column": len(COLUMNS), "starts": 2}
    sizes |= {"row_before": len(ROWS), "column_before": len(COLUMNS)}
    sizes |= {"moves": len(DIRECTIONS), "colours": 6, "turns": 5, "asked": _ASKED}
    sizes |= dict.fromkeys(RANKS, len(COLOURS))
    return nn.ModuleDict({name: nn.Linear(dim, size, bias=False) for name, size in sizes.items()})
