"""Settings of TOPA. Imports nothing heavy: config errors must be told at once."""

from __future__ import annotations

from dataclasses import dataclass

from vidalign.backbones.video_lm_config import VideoLMConfig
from vidalign.common.options import option
from vidalign.common.paths import missing


@dataclass
class TOPALosses:
    """A micro-batch trains either on multiple choice or on captions (summaries and open-ended answers)."""

    caption_share: float = option(
        0.0, "how often a micro-batch trains on captions; 0.5 as published for pre-training", low=0.0, high=1.0
    )
    caption: float = option(1.0, "weight of the caption loss", low=0.0)
    open_share: float = option(
        0.5,
        "how often a caption row is the open-ended answer, where there is one, instead of the summary",
        low=0.0,
        high=1.0,
    )
    balance_options: bool = option(True, "textual videos: options in a drawn order, so that no letter is favoured")


@dataclass
class MemoryConfig:
    """The support memory: text features onto which video features are moved at inference (no training uses it)."""

    path: str | None = option(None, "file with (rows, visual_dim) CLIP text features; null: no projection", path=True)
    rows: int | None = option(1_000_000, "use only the first so many rows; null: all", low=1)
    temperature: float = option(0.01, "of the softmax over the memory", low=1e-6)
    chunk_rows: int = option(4096, "rows that are read at a time", low=1)
    top_k: int | None = option(None, "only the so many most similar rows take part; null: all (as published)", low=1)

    cache: bool = option(True, "compute once per video, and keep it in ${paths.cache} for later runs")

    def missing_files(self) -> list[tuple[str, str]]:
        """The memory, when it is not where the config says: (key, sentence)."""
        text = None if self.path is None else missing(self.path)
        return [("path", f"{text} Give the memory's file, or null for no projection.")] if text else []


@dataclass
class SimilarityConfig:
    """Choosing the option that is most like the model's own answer. The paper's version has no code; this is ours."""

    steps: int = option(20, "most tokens of the model's own answer", low=1)


@dataclass
class TOPAConfig(VideoLMConfig):
    """TOPA (arXiv 2405.13911)."""

    arch: str = option("topa", "registry name")
    losses: TOPALosses = option(TOPALosses, "training losses")
    memory: MemoryConfig = option(MemoryConfig, "cross-modal projection at inference")
    select: str = option(
        "letter",
        "an option's score is the likelihood of its letter, that of its text as an open-ended answer, or its "
        "similarity to the answer that the model writes itself",
        choices=("letter", "text", "similarity"),
    )
    similarity: SimilarityConfig = option(SimilarityConfig, "how answers are compared with select: similarity")
    caption_prompt: str | None = option(
        None, "wording of caption prompts; null: the benchmark's own", choices=("msrvtt", "vatex")
    )
    eval_max_seq_len: int | None = option(None, "longest row at evaluation; null: max_seq_len", low=16)
    video_start: str = option(
        "sample",
        "where video rows are written: each sample's own place, or the first sample's for all (official)",
        choices=("sample", "first"),
    )
    noise_variance: float = option(
        0.0, "variance of the Gaussian noise on textual videos in training; 0 in all released recipes", low=0.0
    )
    every_second_frame: bool = option(False, "ablation: every second frame only, shown twice")
    blind: bool = option(False, "replace the video by zeros (only the temporal embedding is left)")
