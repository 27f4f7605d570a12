"""Trains the tiny CLIP of the drawn world on (frame, caption) pairs.

Contrast alone finds the colours at once and the places late, so two things are added that use nothing but the captions:
shortened captions ("a red square", "something at the top left"), and the words of the caption read out by one linear
layer from either tower.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vidalign.backbones.tiny_clip import TinyCLIP
from vidalign.common.rng import draw_seed
from vidalign.data.shapes.draw import draw
from vidalign.data.shapes.world import SLOT_FRAMES, Clip
from vidalign.media.transforms import normalize_clip
from vidalign.runners.shapes.descent import Descent, cosine
from vidalign.runners.shapes.settings import OnStep
from vidalign.text.tokenizers import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

DIM = 128
KINDS = ("direction", "direction", "direction", "order", "count", "while", "vanish", "flash")
FILLERS = {"a", "picture", "of", "at", "the", "and", "something", "nothing"}
_CLIPS_PER_STEP, _FRAMES_PER_CLIP, _PEAK = 32, 4, 3e-3


def train_clip(clips: Sequence[Clip], tokenizer: Tokenizer, *, steps: int, seed: int, on_step: OnStep) -> TinyCLIP:
    """`on_step(step, loss)` is called after every step."""
    import torch

    generator = torch.Generator().manual_seed(draw_seed(seed, 0, "", "shapes clip"))
    clip = TinyCLIP(tokenizer.vocab_size, dim=DIM, generator=generator)
    pixels = torch.stack([torch.from_numpy(draw(one)[1::SLOT_FRAMES]) for one in clips]).permute(0, 1, 4, 2, 3)
    captions = [one.captions for one in clips]
    loss_of = _Loss(tokenizer, captions)
    descent = Descent([*clip.model.parameters(), *loss_of.parameters])
    for step in range(steps):
        which = torch.randint(len(clips), (_CLIPS_PER_STEP,), generator=generator)
        # Frames of one clip differ in place only: they are each other's hard negatives.
        slots = torch.rand(_CLIPS_PER_STEP, len(captions[0]), generator=generator).argsort(1)[:, :_FRAMES_PER_CLIP]
        texts = [captions[c][s] for c, row in zip(which.tolist(), slots.tolist(), strict=True) for s in row]
        loss = loss_of(clip, normalize_clip(pixels[which[:, None], slots].flatten(0, 1)), texts)
        on_step(step, descent.step(loss, lr=cosine(_PEAK, step, steps)))
    clip.model.eval().requires_grad_(False)
    _to_published_length(clip, normalize_clip(pixels[:64].flatten(0, 1)))
    return clip


def _to_published_length(clip: TinyCLIP, pixels_T3PP: Tensor) -> None:
    """Scale both projections so that a feature's entries are about one in size (so those of CLIP ViT-L/14 are nearly).

    A visual projection that starts as published then gives tokens of the size of words; angles stay as they are.
    """
    import torch

    with torch.inference_mode():
        length = float(clip.images(pixels_T3PP).norm(dim=-1).mean())
    with torch.no_grad():
        for layer in (clip.model.visual_projection, clip.model.text_projection):
            layer.weight.mul_(DIM**0.5 / length)


class _Loss:
    """Contrast against full and shortened captions, words of the caption, and norms near one."""

    def __init__(self, tokenizer: Tokenizer, captions: Sequence[Sequence[str]]) -> None:
        import torch
        from torch import nn

        words = {word for row in captions for text in row for word in text.split()}
        self.words = sorted(words - FILLERS)
        self.tokenizer = tokenizer
        self.read = nn.Linear(DIM, len(self.words))
        self.scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.parameters = [self.scale, *self.read.parameters()]

    def __call__(self, clip: TinyCLIP, pixels: Tensor, captions: list[str]) -> Tensor:
        image = clip.images(pixels)
        forms = [captions, [_look(text) for text in captions], [_place(text) for text in captions]]
        texts = list(dict.fromkeys(text for form in forms for text in form))
        text = clip.texts([self.tokenizer.encode(one) for one in texts])
        row_of = {one: row for row, one in enumerate(texts)}
        norms = (image.norm(dim=-1) - 1).square().mean() + (text.norm(dim=-1) - 1).square().mean()
        contrast = sum(self._contrast(image, text, form, row_of) for form in forms)
        return 0.3 * contrast + 2 * self._words(image, captions) + self._words(text, texts) + 0.3 * norms

    def _contrast(self, image: Tensor, text: Tensor, form: list[str], row_of: dict[str, int]) -> Tensor:
        """Pictures with equal captions count as right for one another."""
        import torch
        import torch.nn.functional as F

        distinct = list(dict.fromkeys(form))
        right = torch.tensor([distinct.index(one) for one in form])
        chosen = F.normalize(text[[row_of[one] for one in distinct]], dim=-1)
        logits = self.scale.exp() * F.normalize(image, dim=-1) @ chosen.T
        target = F.one_hot(right, len(distinct)).float()
        back = -((target / target.sum(0)) * logits.log_softmax(0)).sum(0).mean()
        return F.cross_entropy(logits, right) + 0.3 * back

    def _words(self, embedded: Tensor, texts: list[str]) -> Tensor:
        import torch
        import torch.nn.functional as F

        present = torch.tensor([[float(word in text.split()) for word in self.words] for text in texts])
        # Norms are near one: without the factor the logits would stay small.
        return F.binary_cross_entropy_with_logits(self.read(4 * embedded), present, reduction="sum") / len(texts)


def _look(caption: str) -> str:
    return re.sub(r" at the \w+ \w+", "", caption)


def _place(caption: str) -> str:
    return re.sub(r"a \w+ \w+ at", "something at", caption)


def word_accuracy(clip: TinyCLIP, tokenizer: Tokenizer, clips: Sequence[Clip]) -> float:
    """Share of unseen frames whose nearest caption (among those of all frames) is their own."""
    import torch

    captions = [text for one in clips for text in one.captions]
    distinct = list(dict.fromkeys(captions))
    with torch.inference_mode():
        pixels = torch.cat([torch.from_numpy(draw(one)[1::SLOT_FRAMES]).permute(0, 3, 1, 2) for one in clips])
        image = torch.cat([clip.images(normalize_clip(part)) for part in pixels.split(256)])
        text = torch.nn.functional.normalize(clip.texts([tokenizer.encode(one) for one in distinct]), dim=-1)
        chosen = (image @ text.T).argmax(1).tolist()
    return sum(distinct[c] == text for c, text in zip(chosen, captions, strict=True)) / len(captions)
