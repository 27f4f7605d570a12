"""Settings of BoViLA and LLaMA-VQA. Imports nothing heavy: config errors must be told at once."""

from __future__ import annotations

from dataclasses import dataclass

from vidalign.backbones.video_lm_config import VideoLMConfig
from vidalign.common.options import option


@dataclass
class BoViLALosses:
    """Which losses train, and their weights."""

    answer: str = option("evidential", "answer loss", choices=("evidential", "ce"))
    evidential: float = option(1.0, "weight of the evidential squared error", low=0.0)
    regularizer: float = option(1e-9, "weight of the evidential regularizer", low=0.0)
    vaq: float = option(0.0, "weight of question generation from video and answer", low=0.0)
    aqa: float = option(0.0, "weight of answering the model's own question", low=0.0)
    uncertainty_gate: bool = option(False, "weigh each self-question by 1 - uncertainty (needs the evidential answer)")
    exact: bool = option(
        False, "round the evidence to half precision first, as released (it saturates; for comparisons)"
    )

    def problems(self) -> list[tuple[str, str]]:
        """Rules between the values above: (key, sentence)."""
        if self.uncertainty_gate and self.answer != "evidential":
            text = "the gate needs the evidential answer's uncertainty. Write answer: evidential, or switch it off."
            return [("uncertainty_gate", text)]
        return []


@dataclass
class BoViLAConfig(VideoLMConfig):
    """BoViLA (arXiv 2410.02768)."""

    arch: str = option("bovila", "registry name")
    losses: BoViLALosses = option(BoViLALosses, "training losses")


@dataclass
class LlamaVQALosses:
    """vqa always trains; the other two are switches (all unweighted, as published)."""

    vaq: bool = option(True, "question generation from video and answer")
    qav: bool = option(True, "video prediction from question and answer")
    tau: float = option(100.0, "temperature of the video prediction", low=1e-6)


@dataclass
class LlamaVQAConfig(VideoLMConfig):
    """LLaMA-VQA / Flipped-VQA (arXiv 2310.15747)."""

    arch: str = option("llama_vqa", "registry name")
    losses: LlamaVQALosses = option(LlamaVQALosses, "training losses")
