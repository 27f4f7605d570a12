"""Settings of the tasks. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from vidalign.common.options import option
from vidalign.common.paths import missing
from vidalign.scoring.judge_config import JudgeConfig


@dataclass
class MultipleChoiceConfig:
    """Choose one of the options by its score."""

    name: str = option("multiple_choice", "registry name")


@dataclass
class GenerationConfig:
    """How a model speaks. Prompts, banned words and stop rule are the model's own."""

    max_new_tokens: int | None = option(None, "longest answer in tokens; null: the model's own, as published", low=1)
    num_beams: int = option(1, "1: the likeliest token at every step; more: beam search", low=1)


@dataclass
class CaptioningConfig:
    """Say what a video shows."""

    name: str = option("captioning", "registry name")
    generation: GenerationConfig = option(GenerationConfig, "how the model speaks")
    meteor: bool = option(True, "compute METEOR where Java and its program are there; takes half a minute")
    meteor_jar: str | None = option(None, "path of meteor-1.5.jar; null: the one that pycocoevalcap brings", path=True)

    def missing_files(self) -> list[tuple[str, str]]:
        """The program, when it is not where the config says: (key, sentence)."""
        text = None if self.meteor_jar is None else missing(self.meteor_jar)
        return [("meteor_jar", f"{text} Give the path of meteor-1.5.jar, or null.")] if text else []


@dataclass
class OpenEndedConfig:
    """Answer questions in the model's own words."""

    name: str = option("open_ended", "registry name")
    generation: GenerationConfig = option(GenerationConfig, "how the model speaks")
    judge: JudgeConfig | None = option(None, "who judges the answers beside exact and contained match; null: nobody")


@dataclass
class MVBenchConfig:
    """Choose an option by writing its letter, as the official MVBench evaluation reads it."""

    name: str = option("mvbench", "registry name")
    generation: GenerationConfig = option(GenerationConfig, "how the model speaks")


@dataclass
class MomentsConfig:
    """Find the windows that belong to a query."""

    name: str = option("moments", "registry name")


@dataclass
class RetrievalConfig:
    """Find the video of a text among all videos, and the text of a video."""

    name: str = option("retrieval", "registry name")
    ties: str = option(
        "official",
        "equal scores: official counts every place among the equals, index keeps their order, strict puts the right "
        "one behind them; where there are ties, all three are reported",
        choices=("official", "index", "strict"),
    )
    block: int = option(1024, "queries that are compared with all candidates at a time", low=1)
    match_clips: bool = option(
        False, "also how often a clip's nearest sentence of its paragraph is its own (models with embed_clips)"
    )


@dataclass
class ClassificationConfig:
    """Say which class a video, or a question about it, belongs to."""

    name: str = option("classification", "registry name")
    keep_scores: int = option(200, "records hold probabilities when there are at most so many classes", low=0)


@dataclass
class RegressionConfig:
    """Predict a number for a video."""

    name: str = option("regression", "registry name")
