"""ViLA's pretrained models of the drawn world: EVA ViT, FLAN-T5 and Q-Former, small, in their own files.

They stand for eva_vit_g.pth, FLAN-T5-XL and instruct_blip_flanxl_trimmed.pth. The ViT sees stills, the T5 reads text
alone (vila_words.py), the Q-Former learns from stills, one at a time, what frozen T5 needs of a picture. No base
sees a video or several pictures at once.
Shape letters: B rows, N pictures, T tokens of a picture, C their width, Q queries, D width of T5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidalign.common.io import atomic_write
from vidalign.common.rng import draw_seed
from vidalign.data.shapes.one_moment import colour_question, picture, still
from vidalign.data.shapes.world import COLOURS, FLASH, Frame
from vidalign.media.transforms import as_decoded, normalize_clip
from vidalign.models.vila import tower
from vidalign.models.vila.config import ViLAOriConfig, WeightsConfig
from vidalign.models.vila.model import ViLA
from vidalign.models.vila.weights import fill_t5
from vidalign.runners.shapes.descent import Descent
from vidalign.runners.shapes.settings import OnStep
from vidalign.runners.shapes.vila_words import (
    DIMS,
    ReaderTrainer,
    frame_words,
    letter_loss,
    strengths,
    sureness,
    text_rows,
    train_words,
    word_tokens,
)
from vidalign.runners.shapes.vision import start_vision
from vidalign.text.fast_tokenizers import FastTokenizer

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor, nn

_STILLS, _UNSEEN = 6000, 600
_VISION_ROWS, _QUERY_ROWS, _PEAK = 96, 64, 2e-3
_NORM_SPREAD = 0.5


@dataclass(frozen=True)
class Stills:
    """Pictures uint8 (N, 3, px, px) and what is in them."""

    pixels: Tensor
    frames: list[tuple[Frame, bool]]

    @property
    def colours(self) -> list[str | None]:
        """Of the cross, None where there is none."""
        return [next((t.colour for t in frame if t.shape == FLASH), None) for frame, _ in self.frames]


def make_vila_base(folder: Path, *, steps: tuple[int, int, int], seed: int, on_step: OnStep) -> dict[str, Any]:
    """Write eva_vit.pth, t5/, the tokenizers and start.pth; returns what was measured on unseen stills and texts.

    steps: of the ViT, of T5, of the Q-Former.
    """
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    rng = _rng(seed, "stills")
    seen, unseen = draw_stills(rng, _STILLS), draw_stills(_rng(seed, "unseen stills"), _UNSEEN)
    vit, colours = train_vision(seen, unseen, steps=steps[0], seed=seed, on_step=on_step)
    words = train_words(folder / "t5" / "tokenizer.json", kind="t5")
    bert = train_words(folder / "bert_tokenizer.json", kind="bert")
    reader = ReaderTrainer(words, bert, seed=seed)
    reader.train(steps=steps[1], on_step=on_step)
    model = _model(vit, reader.t5)
    trainer = QFormerTrainer(model, words, bert, seed=seed)
    trainer.train(seen, steps=steps[2], on_step=on_step)
    reader.t5.save_pretrained(folder / "t5")
    for name, state in (("eva_vit.pth", vit.state_dict()), ("start.pth", model.export_state())):
        with atomic_write(folder / name, "wb") as file:
            torch.save(state, file)
    letters = {"text, 16 frames": reader.accuracy(), "still": trainer.accuracy(unseen)}
    return {"cross_colour": colours, "letters": letters}


def draw_stills(rng: np.random.Generator, count: int) -> Stills:
    """So many single pictures, as the model's loader would show them."""
    import numpy as np
    import torch

    frames = [still(rng) for _ in range(count)]
    drawn = np.stack([picture(frame, bright, rng) for frame, bright in frames])
    return Stills(as_decoded(torch.from_numpy(drawn), image_px=DIMS.image_px), frames)


def train_vision(seen: Stills, unseen: Stills, *, steps: int, seed: int, on_step: OnStep) -> tuple[nn.Module, float]:
    """(ViT, share of unseen crosses whose colour it tells): which cross, which small colours, a bright ground or not.

    Read from the mean of all tokens by linear layers that are thrown away.
    """
    import torch
    import torch.nn.functional as F
    from torch import nn

    generator = torch.Generator().manual_seed(draw_seed(seed, 0, "", "shapes vila vision"))
    torch.manual_seed(draw_seed(seed, 0, "", "shapes vila vision heads") % 2**31)
    vit = tower.build_vit(DIMS).requires_grad_(True)
    start_vision(vit, generator)
    read = nn.Sequential(nn.LayerNorm(DIMS.vision_dim), nn.Linear(DIMS.vision_dim, 2 * len(COLOURS) + 2))
    descent = Descent([*vit.parameters(), *read.parameters()])
    crosses, others = _told(seen)
    for step in range(steps):
        which = torch.randint(len(crosses), (_VISION_ROWS,), generator=generator)
        said = read(vit(normalize_clip(seen.pixels[which])).mean(1))
        loss = F.cross_entropy(said[:, : len(COLOURS) + 1], crosses[which])
        loss = loss + 2 * F.binary_cross_entropy_with_logits(said[:, len(COLOURS) + 1 :], others[which])
        on_step(step, descent.step(loss, lr=_rate(step, steps)))
    vit.requires_grad_(False)
    crosses, _ = _told(unseen)
    with torch.no_grad():
        said = read(vit(normalize_clip(unseen.pixels)).mean(1))[:, : len(COLOURS) + 1].argmax(1)
    there = crosses < len(COLOURS)
    return vit, float((said == crosses)[there].float().mean())


class QFormerTrainer:
    """Trains ln_vision, Q-Former, queries and projection on stills, in front of a frozen T5.

    Two losses: the letter of the cross's colour, and the distance of the visual tokens to those of the textual frame.
    """

    def __init__(self, model: ViLA, words: FastTokenizer, bert: FastTokenizer, *, seed: int) -> None:
        import torch

        self.model, self.words, self.bert, self.rng = model, words, bert, _rng(seed, "questions")
        self.generator = torch.Generator().manual_seed(draw_seed(seed, 0, "", "shapes vila queries"))
        start_queries(model, self.generator)
        self.descent = Descent(parameter for parameter in model.parameters() if parameter.requires_grad)

    def train(self, seen: Stills, *, steps: int, on_step: OnStep) -> None:
        """Stills, each blended with one without a cross, behind ln_vision, where the Frame-Prompter's gate is."""
        import torch
        import torch.nn.functional as F

        rows, colours = self._looked(seen), seen.colours
        with torch.no_grad():
            told = [frame_words(frame) for frame, _ in seen.frames]
            wanted = word_tokens(self.model.t5_model.shared, self.words, told)
        crossed = torch.tensor([colour is not None for colour in colours])
        size = wanted[crossed, 0].pow(2).mean()
        plain = torch.arange(len(colours))[~crossed]
        self.model.train()
        for step in range(steps):
            which = torch.randint(len(colours), (_QUERY_ROWS,), generator=self.generator)
            other = plain[torch.randint(len(plain), (_QUERY_ROWS,), generator=self.generator)]
            strength = strengths(self.rng, _QUERY_ROWS)
            part = strength[:, None, None]
            batch = self._batch(rows, colours, which.tolist())
            empty = self.model.features({"features": rows[other]})
            tokens = self.model.tokens(torch.lerp(empty, self.model.features(batch), part[..., None]), batch)
            logits, _ = self.model.answer_loss(tokens, batch)
            loss = letter_loss(logits, batch, sureness(strength) * crossed[which])
            loss = loss + F.mse_loss(tokens[:, 0], torch.lerp(wanted[other], wanted[which], part)) / size
            on_step(step, self.descent.step(loss, lr=_rate(step, steps)))
        self.model.eval()

    def accuracy(self, unseen: Stills) -> float:
        """Share of letters right on stills with a cross."""
        import torch

        which = [row for row, colour in enumerate(unseen.colours) if colour]
        batch = self._batch(self._looked(unseen), unseen.colours, which)
        with torch.no_grad():
            said = self.model.score_options(batch).scores.argmax(1)
        return float((said == batch["answer_idx"]).float().mean())

    def _looked(self, stills: Stills) -> Tensor:
        import torch

        parts = stills.pixels.split(500)
        return torch.cat([tower.look(self.model.visual_encoder, {"video": part[:, None]}) for part in parts]).flatten(2)

    def _batch(self, rows: Tensor, colours: list[str | None], which: list[int]) -> dict[str, Any]:
        asked = [colour_question(self.rng, colours[row] or str(self.rng.choice(COLOURS))) for row in which]
        return text_rows(self.words, self.bert, asked) | {"features": rows[which]}


def start_queries(model: ViLA, generator: torch.Generator) -> None:
    """Unit gain, and an ln_vision that weighs channels differently.

    The Frame-Prompter sees the mean over channels of what leaves that norm, which is zero while all weigh the same.
    """
    import torch

    with torch.no_grad():
        model.ln_vision.weight.normal_(1.0, _NORM_SPREAD, generator=generator)
        model.query_tokens.normal_(0, 1, generator=generator)
        for name, weight in [*model.Qformer.named_parameters(), ("proj", model.t5_proj.weight)]:
            if weight.ndim == 2:
                scale = 0.5 if "embeddings" in name else 0.7 * weight.shape[1] ** -0.5
                weight.normal_(0, scale, generator=generator)


def _model(vit: nn.Module, t5: nn.Module) -> ViLA:
    config = ViLAOriConfig(size="shapes", num_frames=1, dropout=0.0, weights=WeightsConfig(format="random"))
    model = ViLA.build(DIMS, config)
    model.visual_encoder.load_state_dict(vit.state_dict())
    fill_t5(model, dict(t5.state_dict()), where="the base's T5")
    return model


def _told(stills: Stills) -> tuple[Tensor, Tensor]:
    """(index of the cross's colour, one more for none (N,); small colours and bright ground (N, colours + 1))."""
    import torch

    crosses = [len(COLOURS) if colour is None else COLOURS.index(colour) for colour in stills.colours]
    small = [
        [*(float(any(t.colour == c and t.shape != FLASH for t in frame)) for c in COLOURS), float(bright)]
        for frame, bright in stills.frames
    ]
    return torch.tensor(crosses), torch.tensor(small)


def _rate(step: int, steps: int) -> float:
    return _PEAK * min(1.0, (step + 1) / 20) * (1 + math.cos(math.pi * step / steps)) / 2


def _rng(seed: int, purpose: str) -> np.random.Generator:
    import numpy as np

    return np.random.default_rng(draw_seed(seed, 0, "", f"shapes vila {purpose}"))
