"""Makes the folder that Video-Panda starts from on the drawn world, in the role of EVE-7B-Pretrain-v1.0.

EVE (arXiv 2406.11832) is a chat model that has learned to read single pictures without a vision encoder. Here the chat
model is that of chat.py; the picture part of STAB and the projector learn to say of single frames what their
textual frames say. Each picture is lit up by a factor of its own: a video's patches come to STAB's later parts about
twice as strong as a picture's, as they are added to themselves there. Of time they know nothing.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidalign.backbones.llm import load_hf
from vidalign.checkpoint.folder import write_folder
from vidalign.common.io import write_json
from vidalign.common.rng import draw_seed
from vidalign.data.shapes.draw import draw
from vidalign.data.shapes.world import Clip
from vidalign.models.video_panda.alignment import AlignmentHead
from vidalign.models.video_panda.boxes import Box
from vidalign.models.video_panda.config import SIZES as PANDA_SIZES
from vidalign.models.video_panda.frames import make_clip, pixels
from vidalign.models.video_panda.keys import eve_name, official_name
from vidalign.models.video_panda.stab import Stab, project_tokens, projector
from vidalign.runners.shapes.chat import FRAMES, SIDE, ChatMaker, said_rightly, textual_frames
from vidalign.runners.shapes.descent import Descent, held
from vidalign.runners.shapes.settings import OnStep
from vidalign.runners.shapes.teacher import SIZES as TEACHER_SIZES
from vidalign.text.chat_tokens import ChatTokenizer
from vidalign.text.tokenizers import LlamaTokenizer

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_SIZE = PANDA_SIZES["shapes"]
_PEAK, _STILLS, _BRIGHTEST = 1e-3, 96, 2.5
# Waves across a patch that its filters start from, along each side.
_WAVES = 4


def make_eve(
    folder: Path, clips: Sequence[Clip], unseen: Sequence[Clip], *, steps: int, seed: int, on_step: OnStep
) -> dict[str, Any]:
    """From folder/chat to folder/eve; returns what it answers about unseen clips, each frame read as a picture."""
    import torch

    tokenizer = folder / "chat" / "tokenizer.model"
    maker = ChatMaker(ChatTokenizer(LlamaTokenizer(tokenizer), legacy=True))
    trainer = EveTrainer(load_hf(folder / "chat", dtype=torch.float32), maker, clips, seed=seed)
    trainer.train(steps=steps, on_step=on_step)
    pictures, _ = stills_of(unseen)
    with torch.inference_mode():
        frames = torch.stack([trainer.tokens(clip) for clip in pictures])
    trainer.save(folder / "eve")
    shutil.copyfile(tokenizer, folder / "eve" / "tokenizer.model")
    return {"answers_from_pictures": said_rightly(trainer.lm, maker, unseen, frames=frames)}


class EveTrainer:
    """STAB's picture part and a projector beside a frozen chat model."""

    def __init__(self, lm: nn.Module, maker: ChatMaker, clips: Sequence[Clip], *, seed: int) -> None:
        import torch

        self.lm, self.maker = lm, maker
        self.generator = torch.Generator().manual_seed(draw_seed(seed, 0, "", "shapes eve"))
        self.tower = Stab(dim=_SIZE["dim"], patch_px=_SIZE["patch_px"], gstra_heads=_SIZE["gstra_heads"])
        self.projector = projector(_SIZE["dim"], lm.config.hidden_size)
        _start(self.tower, self.generator)
        _start(self.projector, self.generator)
        _start_smooth(self.tower.patch_embedding.weight, self.generator)
        self.words, self.shares = maker.seen(clips)
        self.pictures, self.box = stills_of(clips)

    def train(self, *, steps: int, on_step: OnStep) -> None:
        """Mean squared distance to the textual frames' tokens."""
        import torch

        descent = Descent(p for p in self.named_parameters().values() if p.requires_grad)
        for step in range(steps):
            clip = torch.randint(len(self.pictures), (_STILLS,), generator=self.generator)
            place = torch.randint(len(FRAMES), (_STILLS,), generator=self.generator)
            light = 1 + (_BRIGHTEST - 1) * torch.rand(_STILLS, 1, 1, 1, generator=self.generator)
            made = self.tokens(self.pictures[clip, place], light_N111=light)
            words, shares = (one[clip, place][:, None] for one in (self.words, self.shares))
            with torch.no_grad():
                wanted = textual_frames(self.lm, words, shares, row_id=self.maker.row_id)[:, 0]
            loss = (made - wanted).square().mean()
            on_step(step, descent.step(loss, lr=held(_PEAK, step, steps)))

    def tokens(self, pictures_N3PP: Tensor, *, light_N111: Tensor | float = 1.0) -> Tensor:
        """(N, M, D) of single pictures, their normalised pixels times `light`."""
        import torch

        size = len(pictures_N3PP)
        frames = pixels(pictures_N3PP, torch.ones(size, dtype=torch.bool)) * light_N111
        made = project_tokens(self.tower, self.projector, frames, [self.box] * size, clips=[1] * size)
        return made.unflatten(0, (size, -1))

    def named_parameters(self) -> dict[str, Tensor]:
        """Name in EVE's layout -> tensor of the visual part."""
        parts = {"video_tower": self.tower, "video_projector": self.projector}
        named = {f"{part}.{n}": p for part, module in parts.items() for n, p in module.named_parameters()}
        return {n: p for n, p in ((eve_name(official_name(name)), p) for name, p in named.items()) if n is not None}

    def save(self, folder: Path) -> None:
        """Language model, picture part and a fresh alignment head, named and laid out as EVE's folder."""
        import torch

        width = TEACHER_SIZES["hidden_size"]
        layers = self.lm.config.num_hidden_layers + 1
        head = AlignmentHead(lm_dim=self.lm.config.hidden_size, dim=width, states=layers)
        _start(head, self.generator)
        state = dict(self.lm.state_dict())
        state |= {name: tensor.detach() for name, tensor in self.named_parameters().items()}
        state |= {eve_name(f"model.video_tower_compressor.{name}"): t for name, t in head.state_dict().items()}
        folder.mkdir(parents=True, exist_ok=True)
        write_folder(folder, {name: tensor.to(torch.float32) for name, tensor in state.items()})
        write_json(folder / "config.json", self.lm.config.to_dict())
        write_json(folder / "tokenizer_config.json", {"legacy": True})


def stills_of(clips: Sequence[Clip]) -> tuple[Tensor, Box]:
    """uint8 (N, F, 3, P, P): the frames as Video-Panda gets them, and the box that they have in common."""
    import torch

    form = {"num_frames": len(FRAMES), "side": SIDE, "patch_px": _SIZE["patch_px"], "teacher": False}
    made = [make_clip(draw(clip)[list(FRAMES)], **form) for clip in clips]
    return torch.stack([one.student for one in made]), made[0].boxes[0]


def _start(module: nn.Module, generator: torch.Generator) -> None:
    """Unit gain, as in vision.py."""
    import torch

    with torch.no_grad():
        for name, weight in module.named_parameters():
            if weight.ndim >= 2:
                weight.normal_(0, 1 / math.sqrt(weight[0].numel()), generator=generator)
            elif "embedding" in name:
                weight.normal_(0, 1, generator=generator)
            elif name.endswith("bias"):
                weight.zero_()


def _start_smooth(weight_C3PP: Tensor, generator: torch.Generator) -> None:
    """Filters of a few long waves: things are blobs, and white filters see little of a blob but its noise."""
    import torch

    side = weight_C3PP.shape[-1]
    along_P = (torch.arange(side) + 0.5) / side
    waves_UP = torch.stack([torch.cos(math.pi * order * along_P) for order in range(_WAVES)])
    waves_UP /= waves_UP.norm(dim=1, keepdim=True)
    share_C3UU = torch.randn(*weight_C3PP.shape[:2], _WAVES, _WAVES, generator=generator) / (math.sqrt(3) * _WAVES)
    with torch.no_grad():
        weight_C3PP.copy_(torch.einsum("caxy,xp,yq->capq", share_C3UU, waves_UP, waves_UP))
