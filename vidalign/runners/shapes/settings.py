"""How much the pretrained models of the drawn world see, and what one of them is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OnStep = Callable[[int, float], None]


@dataclass(frozen=True)
class BaseSettings:
    """How much the bases see. `gate`: lettered core questions from textual frames that must be answered rightly;
    `chat_gate`: open-ended ones; `eve_gate`: the same from pictures.

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
    eve_gate: float = 0.50


@dataclass(frozen=True)
class Part:
    """One base: what makes it (settings, folder, on_step) -> what was measured, and everything that decides it."""

    make: Callable[[BaseSettings, Path, OnStep], dict[str, Any]]
    steps: Callable[[BaseSettings], int]
    settings: tuple[str, ...]
    sources: tuple[str, ...]
