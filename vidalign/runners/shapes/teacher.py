"""Trains the small video teacher of the drawn world, in the role of LanguageBind's video encoder (arXiv 2310.01852).

Its patch features know what Video-Panda's tokens are to know: which words a place shows, and what begins and moves. The
words are read by linear layers that are thrown away; it is stored as a LanguageBind folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidalign.backbones.languagebind import LanguageBindVideo
from vidalign.backbones.tiny_clip import start_tower
from vidalign.checkpoint.folder import write_folder
from vidalign.common.io import write_json
from vidalign.common.rng import draw_seed
from vidalign.data.shapes.draw import draw
from vidalign.data.shapes.world import Clip
from vidalign.media.transforms import normalize_clip
from vidalign.models.video_panda.config import SIZES as PANDA_SIZES
from vidalign.models.video_panda.frames import make_clip
from vidalign.runners.shapes.chat import FRAMES, SIDE, token_shares, told
from vidalign.runners.shapes.descent import Descent, held
from vidalign.runners.shapes.lm import loss_where_told
from vidalign.runners.shapes.settings import OnStep
from vidalign.runners.shapes.text import WORDS

if TYPE_CHECKING:
    from torch import Tensor, nn

PATCH_PX = PANDA_SIZES["shapes"]["patch_px"]
SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4}
SIZES |= {"image_size": SIDE * PATCH_PX, "patch_size": PATCH_PX}
_CLIPS_PER_STEP, _PEAK, _SHOWN = 24, 3e-3, 0.3
# Classes of what `told` says, in its order, where this teacher is to know it: starts, moves, colours and turns so far.
_EVENTS = {3: 2, 4: 4, 5: 6, 6: 5}


def train_teacher(
    folder: Path,
    clips: Sequence[Clip],
    unseen: Sequence[Clip],
    *,
    steps: int,
    seed: int,
    on_step: OnStep,
) -> dict[str, Any]:
    """Write the folder; returns the share of the places' words read rightly on unseen clips."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    generator = torch.Generator().manual_seed(draw_seed(seed, 0, "", "shapes teacher"))
    teacher = LanguageBindVideo(num_frames=len(FRAMES), **SIZES).requires_grad_(True)
    start_tower(teacher, generator)
    dim = SIZES["hidden_size"]
    norm, read = nn.LayerNorm(dim), nn.Linear(dim, len(WORDS))
    events = nn.ModuleList(nn.Linear(dim, size) for size in _EVENTS.values())
    pictures, words = pictures_of(clips), words_shown(clips)
    happens = torch.tensor([told(clip) for clip in clips])
    descent = Descent([*teacher.parameters(), *norm.parameters(), *read.parameters(), *events.parameters()])
    for step in range(steps):
        which = torch.randint(len(clips), (_CLIPS_PER_STEP,), generator=generator)
        features = norm(features_of(teacher, pictures[which]))
        loss = F.binary_cross_entropy_with_logits(read(features), words[which], reduction="none").sum(-1).mean()
        for head, row in zip(events, _EVENTS, strict=True):
            loss = loss + 0.5 * loss_where_told(head(features.mean(2)), happens[which][:, row])
        on_step(step, descent.step(loss, lr=held(_PEAK, step, steps)))
    with torch.inference_mode():
        features = norm(features_of(teacher, pictures_of(unseen)))
        said, there = read(features) > 0, words_shown(unseen) > 0
        happened = torch.tensor([told(clip) for clip in unseen])[:, 4]
        moves = events[1](features.mean(2)).argmax(-1)[happened >= 0] == happened[happened >= 0]
    save_teacher(teacher, folder)
    return {"words_read": float((said & there).sum() / (said | there).sum()), "moves_read": float(moves.float().mean())}


def features_of(teacher: LanguageBindVideo, pictures_NFcPP: Tensor) -> Tensor:
    """(N, F, patches, C): what the teacher's `forward` gives, with gradients."""
    frames = normalize_clip(pictures_NFcPP.flatten(0, 1))
    x = teacher.pre_layrnorm(teacher.embeddings(frames))
    for layer in teacher.encoder.layers[: teacher.layers_run]:
        x = layer(x, pictures_NFcPP.shape[1])
    return x[:, 1:].unflatten(0, pictures_NFcPP.shape[:2])


def pictures_of(clips: Sequence[Clip]) -> Tensor:
    """uint8 (N, F, 3, P, P): the frames as Video-Panda's teacher gets them."""
    import torch

    places = list(FRAMES)
    made = [make_clip(draw(c)[places], num_frames=len(FRAMES), side=SIDE, patch_px=PATCH_PX).teacher for c in clips]
    return torch.stack(made)


def words_shown(clips: Sequence[Clip]) -> Tensor:
    """float (N, F, patches, words): 1 for the words of every thing of which the patch shows a good part."""
    import torch

    shown = torch.zeros(len(clips), len(FRAMES), SIDE * SIDE, len(WORDS))
    for n, clip in enumerate(clips):
        for f, place in enumerate(FRAMES):
            for thing in clip.frames[place]:
                grid = torch.tensor(token_shares(thing)[1:]).view(SIDE, SIDE + 1)[:, :SIDE].flatten()
                names = [name for name in (thing.colour, thing.shape, *thing.place.split()) if name in WORDS]
                columns = torch.tensor([WORDS.index(name) for name in names])
                shown[n, f][(grid > _SHOWN).nonzero(), columns] = 1.0
    return shown


def save_teacher(teacher: nn.Module, folder: Path) -> None:
    """A LanguageBind folder: config.json with `vision_config`, weights below `vision_model`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_folder(folder, {f"vision_model.{name}": tensor for name, tensor in teacher.state_dict().items()})
    write_json(folder / "config.json", {"vision_config": {"num_frames": len(FRAMES), **SIZES}})
