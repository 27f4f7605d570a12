"""The tiny pretrained models of the drawn world: CLIP, language model, T5, vision tower. Made once per cache.

They stand for the pretrained models of the published systems and see clips of their own only: the name of their split
is part of every draw, so no train, val or test clip of any seed is among them. The language models see text alone.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vidalign.common.errors import TrainingError, UserError, unknown
from vidalign.common.io import content_key, file_key, write_json
from vidalign.common.rng import draw_seed
from vidalign.data.shapes.world import CORE, Clip, make_clip
from vidalign.text.tokenizers import LlamaTokenizer

_log = logging.getLogger(__name__)
OnStep = Callable[[int, float], None]
# A base below the gate is trained on, at most so often, for half of its steps each time.
MORE_ROUNDS = 3
_DRAWN_BY = ("data/shapes/world.py", "data/shapes/questions.py", "data/shapes/draw.py")


@dataclass(frozen=True)
class BaseSettings:
    """How much the bases see. `gate`: lettered core questions from textual frames that must be answered rightly;
    `chat_gate`: open-ended ones.

    text_only: one kind of clip for the language models instead of all, "" for all.
    """

    seed: int = 0
    picture_clips: int = 2000
    picture_steps: int = 1200
    text_clips: int = 16000
    text_only: str = ""
    text_steps: int = 2200
    look_up_steps: int = 450
    t5_steps: int = 1500
    vision_steps: int = 500
    chat_clips: int = 6000
    chat_steps: int = 1000
    eve_steps: int = 1000
    teacher_steps: int = 1500
    vila_vision_steps: int = 400
    vila_text_steps: int = 600
    vila_query_steps: int = 400
    gate: float = 0.80
    chat_gate: float = 0.65


@dataclass(frozen=True)
class Part:
    """One base: what makes it (settings, folder, on_step) -> what was measured, and everything that decides it."""

    make: Callable[[BaseSettings, Path, OnStep], dict[str, Any]]
    steps: Callable[[BaseSettings], int]
    settings: tuple[str, ...]
    sources: tuple[str, ...]


def make_bases(
    folder: Path,
    settings: BaseSettings,
    *,
    parts: Sequence[str] = ("clip", "llm", "visual_start"),
    redo: bool = False,
    progress: bool = True,
    workers: int = 2,
) -> dict[str, dict[str, Any]]:
    """Make the named parts in `folder`, or find them there; returns part -> report.

    A report has the content key, the seconds, what was measured on unseen clips, and `made`: whether it was made just
    now. Up to `workers` parts are made at once, with one thread each. ConfigError for an unknown part; TrainingError
    when a language model stays below the gate: nothing is left then that says it were usable.
    """
    for name in parts:
        if name not in PARTS:
            raise UserError(f"--parts: {unknown('base', name, PARTS)}")
    reports = {name: _found(folder, name, settings) for name in ("text", *parts)}
    todo = [name for name, report in reports.items() if report is None or redo]
    if "text" in todo:
        reports["text"] = _make("text", folder, settings, 0, progress)
        todo.remove("text")
    alone = [name for name in todo if name not in _NEEDS_OTHERS]
    reports |= _at_once(alone, folder, settings, progress, workers)
    return reports | {name: _make(name, folder, settings, 0, progress) for name in todo if name in _NEEDS_OTHERS}


def _at_once(
    names: Sequence[str], folder: Path, settings: BaseSettings, progress: bool, workers: int
) -> dict[str, dict[str, Any]]:
    if workers == 1 or len(names) < 2:
        return {name: _make(name, folder, settings, 0, progress) for name in names}
    import multiprocessing

    # "spawn": a forked child of a process that has used torch's threads may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        made = [pool.submit(_make, name, folder, settings, line, progress) for line, name in enumerate(names)]
        return {name: one.result() for name, one in zip(names, made, strict=True)}


def part_key(name: str, settings: BaseSettings) -> str:
    """Names a base by its settings and by the code that makes it."""
    package = Path(__file__).resolve().parents[1]
    values = asdict(settings)
    chosen = {key: values[key] for key in ("seed", "text_clips", "text_only", *PARTS[name].settings)}
    sources = ("runners/shapes_text.py", *PARTS[name].sources, *_DRAWN_BY)
    return content_key(name, chosen, [file_key(package / source) for source in sources])


def report_path(folder: Path, name: str) -> Path:
    """Where a part's report stands."""
    return folder / f"{name}.report.json"


def _found(folder: Path, name: str, settings: BaseSettings) -> dict[str, Any] | None:
    path = report_path(folder, name)
    if not path.is_file():
        return None
    report = json.loads(path.read_text(encoding="utf-8"))
    if report.get("key") == part_key(name, settings):
        return report | {"made": False}
    _log.info("%s was made by other settings or other code: it is made anew", folder / name)
    return None


def _make(name: str, folder: Path, settings: BaseSettings, line: int, progress: bool) -> dict[str, Any]:
    part, path = PARTS[name], report_path(folder, name)
    path.unlink(missing_ok=True)
    start = time.monotonic()
    with _bar(name, part.steps(settings), line, progress) as on_step, _drawn_alike(name, settings.seed):
        measured = part.make(settings, folder, on_step)
    report = {"key": part_key(name, settings), "seconds": round(time.monotonic() - start, 1), **measured}
    write_json(path, report)
    return report | {"made": True}


@contextmanager
def _drawn_alike(name: str, seed: int) -> Iterator[None]:
    """Inside, what a library draws by itself (heads that are thrown away, biases) is the same in every making.

    One thread: models this small gain nothing from a second, and beside other work it made a step thirty times slower.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng([]):
            torch.manual_seed(draw_seed(seed, 0, name, "shapes bases"))
            yield
    finally:
        torch.set_num_threads(threads)


def _make_text(settings: BaseSettings, folder: Path, on_step: OnStep) -> dict[str, Any]:
    from vidalign.runners.shapes_text import base_clips, make_tokenizer

    (folder / "llm").mkdir(parents=True, exist_ok=True)
    make_tokenizer(_tokenizer_file(folder), base_clips(settings.seed, 600))
    return {}


def _make_clip(settings: BaseSettings, folder: Path, on_step: OnStep) -> dict[str, Any]:
    from vidalign.runners.shapes_clip import KINDS, train_clip, word_accuracy

    tokenizer = LlamaTokenizer(_tokenizer_file(folder))
    seen = pictured_clips(settings, KINDS)
    clip = train_clip(seen, tokenizer, steps=settings.picture_steps, seed=settings.seed, on_step=on_step)
    clip.save(folder / "clip")
    return {"clip_own_caption": word_accuracy(clip, tokenizer, unseen_clips(settings))}


def _make_llm(settings: BaseSettings, folder: Path, on_step: OnStep) -> dict[str, Any]:
    from vidalign.runners.shapes_lm import LMTrainer, letter_accuracy
    from vidalign.runners.shapes_text import WORD_GROUPS, TextMaker, answer_groups

    seen, unseen = told_clips(settings)
    groups = answer_groups(unseen) if settings.text_only else WORD_GROUPS
    maker = TextMaker(LlamaTokenizer(_tokenizer_file(folder)), groups=groups)
    trainer = LMTrainer(maker, seen, seed=settings.seed)
    trainer.train(steps=settings.text_steps, look_up_steps=settings.look_up_steps, on_step=on_step)
    letters, more = letter_accuracy(trainer.lm, maker, unseen), 0
    # Each step of such a question is learned after a plateau of a length that nobody knows beforehand.
    while letters["core"] < settings.gate and more < MORE_ROUNDS:
        more += 1
        trainer.lm.train().requires_grad_(True)
        trainer.train(steps=settings.text_steps // 2, look_up_steps=0, on_step=on_step)
        letters = letter_accuracy(trainer.lm, maker, unseen)
    require_gate(letters, settings.gate, option="--text-steps")
    trainer.lm.save_pretrained(folder / "llm")
    return {"letters_from_text": letters, "rounds_more": more}


def _make_t5(settings: BaseSettings, folder: Path, on_step: OnStep) -> dict[str, Any]:
    from vidalign.runners.shapes_t5 import T5Trainer, t5_letter_accuracy, train_t5_tokenizer
    from vidalign.runners.shapes_text import TextMaker, base_clips

    clips, unseen = told_clips(settings)
    words = train_t5_tokenizer(folder / "t5" / "tokenizer.json", base_clips(settings.seed, 600))
    maker = TextMaker(LlamaTokenizer(_tokenizer_file(folder)))
    trainer = T5Trainer(words, maker, clips, seed=settings.seed)
    trainer.train(steps=settings.t5_steps, look_up_steps=settings.look_up_steps, on_step=on_step)
    letters = t5_letter_accuracy(trainer.t5, words, maker, unseen)
    trainer.t5.save_pretrained(folder / "t5")
    return {"letters_from_text": letters}


def _make_vision(settings: BaseSettings, folder: Path, on_step: OnStep) -> dict[str, Any]:
    from vidalign.runners.shapes_clip import KINDS
    from vidalign.runners.shapes_vision import train_vision

    seen, unseen = pictured_clips(settings, KINDS), unseen_clips(settings)
    (folder / "vision").mkdir(parents=True, exist_ok=True)
    return train_vision(
        folder / "vision", seen, unseen, steps=settings.vision_steps, seed=settings.seed, on_step=on_step
    )


def _make_chat(settings: BaseSettings, folder: Path, on_step: OnStep) -> dict[str, Any]:
    from vidalign.runners.shapes_chat import ChatMaker, ChatTrainer, chat_clips, said_rightly, train_chat_tokenizer
    from vidalign.runners.shapes_text import base_clips

    (folder / "chat").mkdir(parents=True, exist_ok=True)
    maker = ChatMaker(train_chat_tokenizer(folder / "chat" / "tokenizer.model", base_clips(settings.seed, 600)))
    trainer = ChatTrainer(maker, chat_clips(settings.seed, settings.chat_clips), seed=settings.seed)
    trainer.train(steps=settings.chat_steps, on_step=on_step)
    said = said_rightly(trainer.lm, maker, base_clips(settings.seed, 300, split="bases_val"))
    trainer.lm.save_pretrained(folder / "chat")
    require_gate(said, settings.chat_gate, option="--chat-steps")
    return {"answers_from_text": said}


def _make_eve(settings: BaseSettings, folder: Path, on_step: OnStep) -> dict[str, Any]:
    from vidalign.runners.shapes_eve import make_eve
    from vidalign.runners.shapes_text import base_clips

    seen = base_clips(settings.seed, settings.picture_clips)
    unseen = base_clips(settings.seed, 300, split="bases_val")
    return make_eve(folder, seen, unseen, steps=settings.eve_steps, seed=settings.seed, on_step=on_step)


def _make_teacher(settings: BaseSettings, folder: Path, on_step: OnStep) -> dict[str, Any]:
    from vidalign.runners.shapes_teacher import train_teacher
    from vidalign.runners.shapes_text import base_clips

    seen = base_clips(settings.seed, settings.picture_clips)
    unseen = base_clips(settings.seed, 200, split="bases_val")
    steps, seed = settings.teacher_steps, settings.seed
    return train_teacher(folder / "languagebind", seen, unseen, steps=steps, seed=seed, on_step=on_step)


def _make_vila(settings: BaseSettings, folder: Path, on_step: OnStep) -> dict[str, Any]:
    from vidalign.runners.shapes_vila import make_vila_base

    report = make_vila_base(folder / "vila", steps=_vila_steps(settings), seed=settings.seed, on_step=on_step)
    found = report["letters"]
    if min(found.values()) < settings.gate:
        raise TrainingError(
            f"ViLA's base answers {found} of its letters, {settings.gate:.2f} are wanted; give it more steps "
            "(--vila-text-steps, --vila-query-steps)"
        )
    return report


def _vila_steps(settings: BaseSettings) -> tuple[int, int, int]:
    return settings.vila_vision_steps, settings.vila_text_steps, settings.vila_query_steps


def _make_start(settings: BaseSettings, folder: Path, on_step: OnStep) -> dict[str, Any]:
    from vidalign.runners.shapes_start import save_visual_start
    from vidalign.runners.shapes_text import TextMaker, base_clips

    maker = TextMaker(LlamaTokenizer(_tokenizer_file(folder)))
    return {"misfit": save_visual_start(folder, maker, base_clips(settings.seed, 2500))}


def require_gate(answers: Mapping[str, float], gate: float, *, option: str) -> None:
    """TrainingError when a base is not usable."""
    if answers["core"] < gate:
        raise TrainingError(
            f"the base language model answers {answers['core']:.2f} of the core questions from textual frames, "
            f"{gate:.2f} are wanted; give it more steps ({option})"
        )


def told_clips(settings: BaseSettings) -> tuple[list[Clip], list[Clip]]:
    """The clips that language models read about, and 300 unseen ones."""
    from vidalign.runners.shapes_text import base_clips

    only = settings.text_only or None
    seen = base_clips(settings.seed, settings.text_clips, only=only)
    return seen, base_clips(settings.seed, 300, split="bases_val", only=only)


def pictured_clips(settings: BaseSettings, kinds: Sequence[str]) -> list[Clip]:
    """The clips whose frames the picture towers see."""
    count = settings.picture_clips
    return [make_clip(settings.seed, "bases_seen", i, kind=kinds[i % len(kinds)]) for i in range(count)]


def unseen_clips(settings: BaseSettings) -> list[Clip]:
    """Clips that no base has seen, for what is measured."""
    return [make_clip(settings.seed, "bases_val", i, kind=CORE[i % 3]) for i in range(60)]


def _tokenizer_file(folder: Path) -> Path:
    return folder / "llm" / "tokenizer.model"


@contextmanager
def _bar(name: str, steps: int, line: int, shown: bool) -> Iterator[OnStep]:
    from tqdm import tqdm

    # A log file gets a line now and then, not one per step.
    with tqdm(total=steps, desc=name, unit="step", position=line, mininterval=1.0, disable=not shown) as bar:

        def on_step(step: int, loss: float) -> None:
            bar.total = max(bar.total, bar.n + 1)
            bar.update()
            if step % 20 == 0:
                bar.set_postfix(loss=f"{loss:.2f}", refresh=False)

        yield on_step


_LM_SOURCES = ("runners/shapes_lm.py", "models/bovila/prompts.py", "text/prompt_rows.py", "text/prompt_texts.py")
_CHAT_SOURCES = ("runners/shapes_chat.py", "runners/shapes_lm.py", "models/video_panda/prompts.py")
_PANDA = ("config", "frames")
PARTS: dict[str, Part] = {
    "text": Part(_make_text, lambda s: 0, (), ()),
    "clip": Part(
        _make_clip,
        lambda s: s.picture_steps,
        ("picture_clips", "picture_steps"),
        ("runners/shapes_clip.py", "backbones/tiny_clip.py"),
    ),
    "llm": Part(_make_llm, lambda s: s.text_steps, ("text_steps", "look_up_steps", "gate"), _LM_SOURCES),
    # For the systems whose language model is FLAN-T5; no gate, its accuracy stands in the report.
    "t5": Part(_make_t5, lambda s: s.t5_steps, ("t5_steps", "look_up_steps"), ("runners/shapes_t5.py", *_LM_SOURCES)),
    "vision": Part(
        _make_vision,
        lambda s: s.vision_steps,
        ("picture_clips", "vision_steps"),
        ("runners/shapes_vision.py", "runners/shapes_clip.py", "backbones/eva_vit.py"),
    ),
    # ViLA's own: clips whose answer shows in one moment (data/shapes/one_moment.py).
    "vila": Part(
        _make_vila,
        lambda s: sum(_vila_steps(s)),
        ("vila_vision_steps", "vila_text_steps", "vila_query_steps", "gate"),
        (
            *("runners/shapes_vila.py", "runners/shapes_vila_words.py", "runners/shapes_vision.py"),
            *("data/shapes/one_moment.py", "models/vila/sizes.py", "models/vila/prompts.py", "models/vila/tower.py"),
            *("backbones/eva_vit.py", "backbones/qformer.py"),
        ),
    ),
    # What BoViLA's visual projection starts from: a linear map from CLIP's texts to textual frames.
    "visual_start": Part(
        _make_start,
        lambda s: 0,
        ("picture_clips", "picture_steps", "text_steps", "look_up_steps"),
        ("runners/shapes_start.py", "runners/shapes_clip.py", "backbones/tiny_clip.py", *_LM_SOURCES),
    ),
    # What Video-Panda starts from: a chat model, EVE that has learned to read single pictures with it, LanguageBind.
    "chat": Part(_make_chat, lambda s: s.chat_steps, ("chat_clips", "chat_steps", "chat_gate"), _CHAT_SOURCES),
    "eve": Part(
        _make_eve,
        lambda s: s.eve_steps,
        ("chat_clips", "chat_steps", "chat_gate", "picture_clips", "eve_steps"),
        ("runners/shapes_eve.py", *(f"models/video_panda/{name}.py" for name in _PANDA), *_CHAT_SOURCES),
    ),
    "languagebind": Part(
        _make_teacher,
        lambda s: s.teacher_steps,
        ("picture_clips", "teacher_steps"),
        ("runners/shapes_teacher.py", "backbones/languagebind.py", "backbones/tiny_clip.py", *_CHAT_SOURCES),
    ),
}
_NEEDS_OTHERS = ("visual_start", "eve")
