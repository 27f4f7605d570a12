"""The tiny pretrained models of the drawn world: CLIP, language model, tokenizer. Made once per cache.

They stand for the pretrained models of the published systems and see clips of their own only: the name of their split
is part of every draw, so no train, val or test clip of any seed is among them. The language model sees text alone.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidalign.backbones.tiny_clip import TinyCLIP
from vidalign.common.errors import TrainingError
from vidalign.common.io import atomic_write, content_key, file_key, write_json
from vidalign.data.shapes.world import CORE, NUM_SLOTS, make_clip
from vidalign.runners.shapes_clip import KINDS, train_clip, word_accuracy
from vidalign.runners.shapes_lm import LMTrainer, frame_tokens, letter_accuracy
from vidalign.runners.shapes_text import TextMaker, base_clips, make_tokenizer

if TYPE_CHECKING:
    from torch import Tensor, nn

_log = logging.getLogger(__name__)
REPORT = "report.json"
_SOURCES = ("runners/shapes_bases.py", "runners/shapes_clip.py", "runners/shapes_lm.py", "runners/shapes_text.py")
_DRAWN_BY = ("data/shapes/world.py", "data/shapes/questions.py", "data/shapes/draw.py", "backbones/tiny_clip.py")


@dataclass(frozen=True)
class BaseSettings:
    """How much the bases see. `gate`: lettered core questions from textual frames that must be answered rightly."""

    seed: int = 0
    picture_clips: int = 800
    picture_steps: int = 600
    text_clips: int = 12000
    text_steps: int = 1500
    look_up_steps: int = 450
    gate: float = 0.80


def make_bases(folder: Path, settings: BaseSettings, *, redo: bool = False, progress: bool = True) -> dict[str, Any]:
    """Make `clip/`, `llm/`, `visual_start.pth` in `folder`, or find them there; returns the report.

    The report has the content key, the seconds of each part and what was measured on unseen clips. TrainingError when
    the language model stays below the gate: it is not usable then, and nothing is left that says it were.
    """
    key = bases_key(settings)
    path = folder / REPORT
    if path.is_file() and not redo:
        report = json.loads(path.read_text(encoding="utf-8"))
        if report.get("key") == key:
            return report | {"made": False}
        _log.info("%s was made by other settings or other code: it is made anew", folder)
    path.unlink(missing_ok=True)
    report: dict[str, Any] = {"key": key, "settings": asdict(settings), "seconds": {}}
    with _timed(report, "text"):
        clips = base_clips(settings.seed, settings.text_clips)
        (folder / "llm").mkdir(parents=True, exist_ok=True)
        tokenizer = make_tokenizer(folder / "llm" / "tokenizer.model", clips[:600])
    with _timed(report, "clip"):
        pictures = [
            make_clip(settings.seed, "bases_seen", i, kind=KINDS[i % len(KINDS)]) for i in range(settings.picture_clips)
        ]
        with _bar("CLIP", settings.picture_steps, progress) as on_step:
            clip = train_clip(pictures, tokenizer, steps=settings.picture_steps, seed=settings.seed, on_step=on_step)
        unseen = [make_clip(settings.seed, "bases_val", i, kind=CORE[i % 3]) for i in range(60)]
        report["clip_own_caption"] = word_accuracy(clip, tokenizer, unseen)
        clip.save(folder / "clip")
    with _timed(report, "language_model"):
        maker = TextMaker(tokenizer)
        trainer = LMTrainer(maker, clips, seed=settings.seed)
        with _bar("language model", settings.text_steps, progress) as on_step:
            trainer.train(steps=settings.text_steps, look_up_steps=settings.look_up_steps, on_step=on_step)
        letters = letter_accuracy(trainer.lm, maker, base_clips(settings.seed, 300, split="bases_val"))
        report["letters_from_text"] = letters
    if letters["core"] < settings.gate:
        raise TrainingError(
            f"the base language model answers {letters['core']:.2f} of the lettered core questions from textual "
            f"frames, {settings.gate:.2f} are wanted; give it more steps (--text-steps)"
        )
    trainer.lm.save_pretrained(folder / "llm")
    report["visual_start_misfit"] = save_visual_start(folder / "visual_start.pth", clip, trainer.lm, maker, clips)
    write_json(path, report)
    return report | {"made": True}


def bases_key(settings: BaseSettings) -> str:
    """Names the bases by their settings and by the code that makes them."""
    package = Path(__file__).resolve().parents[1]
    return content_key(asdict(settings), [file_key(package / name) for name in (*_SOURCES, *_DRAWN_BY)])


def save_visual_start(path: Path, clip: TinyCLIP, lm: nn.Module, maker: TextMaker, clips: list[Any]) -> float:
    """Fit, on captions alone, the linear map from CLIP's text vectors to textual frames; returns its relative error.

    As start of a visual projection it carries pictures over as far as CLIP's pictures lie where its texts do.
    """
    import torch

    captions, tokens = _distinct_frames(lm, maker, [one for one in clips if one.kind in CORE][:1500])
    with torch.inference_mode():
        text_NE = clip.texts([maker.tokenizer.encode(text) for text in captions])
    ridge = 1e-2 * torch.eye(text_NE.shape[1])
    weight_ED = torch.linalg.solve(text_NE.T @ text_NE + ridge, text_NE.T @ tokens)
    state = {
        "visual_proj.weight": weight_ED.T.contiguous(),
        "temporal_emb.weight": torch.zeros(NUM_SLOTS, tokens.shape[1]),
    }
    with atomic_write(path, "wb") as file:
        torch.save(state, file)
    return float((text_NE @ weight_ED - tokens).norm() / tokens.norm())


def _distinct_frames(lm: nn.Module, maker: TextMaker, clips: list[Any]) -> tuple[list[str], Tensor]:
    import torch

    with torch.no_grad():
        tokens = frame_tokens(lm, maker.frames(clips)).flatten(0, 1)
    row_of: dict[str, int] = {}
    for row, caption in enumerate(text for clip in clips for text in clip.captions):
        row_of.setdefault(caption, row)
    return list(row_of), tokens[list(row_of.values())]


@contextmanager
def _timed(report: dict[str, Any], part: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    report["seconds"][part] = round(time.monotonic() - start, 1)


@contextmanager
def _bar(name: str, steps: int, shown: bool) -> Iterator[Callable[[int, float], None]]:
    from tqdm import tqdm

    with tqdm(total=steps, desc=name, unit="step", disable=not shown) as bar:

        def on_step(step: int, loss: float) -> None:
            bar.update()
            if step % 20 == 0:
                bar.set_postfix(loss=f"{loss:.2f}")

        yield on_step
