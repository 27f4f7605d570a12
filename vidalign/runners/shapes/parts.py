"""The parts: what makes each pretrained model of the drawn world, and by which settings and sources it is known.

A part asks for torch and for its own file only when it is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vidalign.common.errors import TrainingError
from vidalign.data.shapes.world import CORE, Clip, make_clip
from vidalign.runners.shapes.settings import BaseSettings, OnStep, Part
from vidalign.text.tokenizers import LlamaTokenizer

# A base below the gate is trained on, at most so often, for half of its steps each time.
MORE_ROUNDS = 3


def _make_text(settings: BaseSettings, folder: Path, on_step: OnStep) -> dict[str, Any]:
    from vidalign.runners.shapes.text import base_clips, make_tokenizer

    (folder / "llm").mkdir(parents=True, exist_ok=True)
    make_tokenizer(_tokenizer_file(folder), base_clips(settings.seed, 600))
    return {}


def _make_clip(settings: BaseSettings, folder: Path, on_step: OnStep) -> dict[str, Any]:
    from vidalign.runners.shapes.clip import KINDS, train_clip, word_accuracy

    tokenizer = LlamaTokenizer(_tokenizer_file(folder))
    seen = pictured_clips(settings, KINDS)
    clip = train_clip(seen, tokenizer, steps=settings.picture_steps, seed=settings.seed, on_step=on_step)
    clip.save(folder / "clip")
    return {"clip_own_caption": word_accuracy(clip, tokenizer, unseen_clips(settings))}


def _make_llm(settings: BaseSettings, folder: Path, on_step: OnStep) -> dict[str, Any]:
    from vidalign.runners.shapes.lm import LMTrainer, letter_accuracy
    from vidalign.runners.shapes.text import WORD_GROUPS, TextMaker, answer_groups

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
    from vidalign.runners.shapes.t5 import T5Trainer, t5_letter_accuracy, train_t5_tokenizer
    from vidalign.runners.shapes.text import TextMaker, base_clips

    clips, unseen = told_clips(settings)
    words = train_t5_tokenizer(folder / "t5" / "tokenizer.json", base_clips(settings.seed, 600))
    maker = TextMaker(LlamaTokenizer(_tokenizer_file(folder)))
    trainer = T5Trainer(words, maker, clips, seed=settings.seed)
    trainer.train(steps=settings.t5_steps, look_up_steps=settings.look_up_steps, on_step=on_step)
    letters = t5_letter_accuracy(trainer.t5, words, maker, unseen)
    trainer.t5.save_pretrained(folder / "t5")
    return {"letters_from_text": letters}


def _make_vision(settings: BaseSettings, folder: Path, on_step: OnStep) -> dict[str, Any]:
    from vidalign.runners.shapes.clip import KINDS
    from vidalign.runners.shapes.vision import train_vision

    seen, unseen = pictured_clips(settings, KINDS), unseen_clips(settings)
    (folder / "vision").mkdir(parents=True, exist_ok=True)
    return train_vision(
        folder / "vision", seen, unseen, steps=settings.vision_steps, seed=settings.seed, on_step=on_step
    )


def _make_chat(settings: BaseSettings, folder: Path, on_step: OnStep) -> dict[str, Any]:
    from vidalign.runners.shapes.chat import ChatMaker, ChatTrainer, chat_clips, said_rightly, train_chat_tokenizer
    from vidalign.runners.shapes.text import base_clips

    (folder / "chat").mkdir(parents=True, exist_ok=True)
    maker = ChatMaker(train_chat_tokenizer(folder / "chat" / "tokenizer.model", base_clips(settings.seed, 600)))
    trainer = ChatTrainer(maker, chat_clips(settings.seed, settings.chat_clips), seed=settings.seed)
    trainer.train(steps=settings.chat_steps, on_step=on_step)
    said = said_rightly(trainer.lm, maker, base_clips(settings.seed, 300, split="bases_val"))
    trainer.lm.save_pretrained(folder / "chat")
    require_gate(said, settings.chat_gate, option="--chat-steps")
    return {"answers_from_text": said}


def _make_eve(settings: BaseSettings, folder: Path, on_step: OnStep) -> dict[str, Any]:
    from vidalign.runners.shapes.eve import make_eve
    from vidalign.runners.shapes.text import base_clips

    seen = base_clips(settings.seed, settings.picture_clips)
    unseen = base_clips(settings.seed, 300, split="bases_val")
    report = make_eve(folder, seen, unseen, steps=settings.eve_steps, seed=settings.seed, on_step=on_step)
    require_gate(report["answers_from_pictures"], settings.eve_gate, option="--eve-steps", frames="pictures")
    return report


def _make_teacher(settings: BaseSettings, folder: Path, on_step: OnStep) -> dict[str, Any]:
    from vidalign.runners.shapes.teacher import train_teacher
    from vidalign.runners.shapes.text import base_clips

    seen = base_clips(settings.seed, settings.picture_clips)
    unseen = base_clips(settings.seed, 200, split="bases_val")
    steps, seed = settings.teacher_steps, settings.seed
    return train_teacher(folder / "languagebind", seen, unseen, steps=steps, seed=seed, on_step=on_step)


def _make_vila(settings: BaseSettings, folder: Path, on_step: OnStep) -> dict[str, Any]:
    from vidalign.runners.shapes.vila import make_vila_base

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
    from vidalign.runners.shapes.start import save_visual_start
    from vidalign.runners.shapes.text import TextMaker, base_clips

    maker = TextMaker(LlamaTokenizer(_tokenizer_file(folder)))
    return {"misfit": save_visual_start(folder, maker, base_clips(settings.seed, 2500))}


def require_gate(answers: Mapping[str, float], gate: float, *, option: str, frames: str = "textual frames") -> None:
    """TrainingError when a base is not usable."""
    if answers["core"] < gate:
        raise TrainingError(
            f"the base language model answers {answers['core']:.2f} of the core questions from {frames}, "
            f"{gate:.2f} are wanted; give it more steps ({option})"
        )


def told_clips(settings: BaseSettings) -> tuple[list[Clip], list[Clip]]:
    """The clips that language models read about, and 300 unseen ones."""
    from vidalign.runners.shapes.text import base_clips

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


_LM_SOURCES = ("runners/shapes/lm.py", "models/bovila/prompts.py", "text/prompt_rows.py", "text/prompt_texts.py")
_CHAT_SOURCES = ("runners/shapes/chat.py", "runners/shapes/lm.py", "models/video_panda/prompts.py")
_PANDA = ("config", "frames")
PARTS: dict[str, Part] = {
    "text": Part(_make_text, lambda s: 0, (), ()),
    "clip": Part(
        _make_clip,
        lambda s: s.picture_steps,
        ("picture_clips", "picture_steps"),
        ("runners/shapes/clip.py", "backbones/tiny_clip.py"),
    ),
    "llm": Part(_make_llm, lambda s: s.text_steps, ("text_steps", "look_up_steps", "gate"), _LM_SOURCES),
    # For the systems whose language model is FLAN-T5; no gate, its accuracy stands in the report.
    "t5": Part(_make_t5, lambda s: s.t5_steps, ("t5_steps", "look_up_steps"), ("runners/shapes/t5.py", *_LM_SOURCES)),
    "vision": Part(
        _make_vision,
        lambda s: s.vision_steps,
        ("picture_clips", "vision_steps"),
        ("runners/shapes/vision.py", "runners/shapes/clip.py", "backbones/eva_vit.py"),
    ),
    # ViLA's own: clips whose answer shows in one moment (data/shapes/one_moment.py).
    "vila": Part(
        _make_vila,
        lambda s: sum(_vila_steps(s)),
        ("vila_vision_steps", "vila_text_steps", "vila_query_steps", "gate"),
        (
            *("runners/shapes/vila.py", "runners/shapes/vila_words.py", "runners/shapes/vision.py"),
            *("data/shapes/one_moment.py", "models/vila/sizes.py", "models/vila/prompts.py", "models/vila/tower.py"),
            *("backbones/eva_vit.py", "backbones/qformer.py"),
        ),
    ),
    # What BoViLA's visual projection starts from: a linear map from CLIP's texts to textual frames.
    "visual_start": Part(
        _make_start,
        lambda s: 0,
        ("picture_clips", "picture_steps", "text_steps", "look_up_steps"),
        ("runners/shapes/start.py", "runners/shapes/clip.py", "backbones/tiny_clip.py", *_LM_SOURCES),
    ),
    # What Video-Panda starts from: a chat model, EVE that has learned to read single pictures with it, LanguageBind.
    "chat": Part(_make_chat, lambda s: s.chat_steps, ("chat_clips", "chat_steps", "chat_gate"), _CHAT_SOURCES),
    "eve": Part(
        _make_eve,
        lambda s: s.eve_steps,
        ("chat_clips", "chat_steps", "chat_gate", "picture_clips", "eve_steps", "eve_gate"),
        ("runners/shapes/eve.py", *(f"models/video_panda/{name}.py" for name in _PANDA), *_CHAT_SOURCES),
    ),
    "languagebind": Part(
        _make_teacher,
        lambda s: s.teacher_steps,
        ("picture_clips", "teacher_steps"),
        ("runners/shapes/teacher.py", "backbones/languagebind.py", "backbones/tiny_clip.py", *_CHAT_SOURCES),
    ),
}
