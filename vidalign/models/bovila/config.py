"""Settings of BoViLA and LLaMA-VQA. Imports nothing heavy: config errors must be told at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vidalign.common.errors import unknown
from vidalign.common.options import option
from vidalign.common.paths import missing, missing_model
from vidalign.models.bovila.sizes import SIZES


@dataclass
class LLMConfig:
    """The frozen language model."""

    path: str | None = option(None, "folder with the weights; null only with format random")
    format: str = option(
        "meta",
        "meta: consolidated.NN.pth + params.json; hf: Hugging Face folder or hub name; random: no weights",
        choices=("meta", "hf", "random"),
    )
    tokenizer: str | None = option(
        None, "tokenizer.model (SentencePiece or tiktoken); null: beside or above the weights"
    )
    dtype: str = option("float16", "type of the frozen weights", choices=("float16", "bfloat16", "float32"))
    attention: str = option(
        "fast", "fast: fused kernels; exact: the official order of operations", choices=("fast", "exact")
    )
    official_rope: bool = option(
        False, "LLaMA-3 only: rotary base 10000 as in the official code instead of the one in params.json"
    )

    def problems(self) -> list[tuple[str, str]]:
        """Rules between the values above: (key, sentence)."""
        if self.path is None and self.format != "random":
            return [("path", f"format {self.format} needs the weights. Give their folder, or write format: random.")]
        return []

    def missing_files(self) -> list[tuple[str, str]]:
        """Weights and tokenizer that are not where the config says: (key, sentence)."""
        found = []
        if self.path is not None and self.format == "meta":
            found += [("path", text) for text in _missing_shards(Path(self.path))]
        if self.path is not None and self.format == "hf" and (text := missing_model(self.path)):
            found.append(("path", f"{text} Give a Hugging Face folder or a hub name."))
        if self.tokenizer is not None and (text := missing(self.tokenizer)):
            found.append(("tokenizer", f"{text} Give the path of tokenizer.model."))
        return found


@dataclass
class AdapterConfig:
    """LLaMA-Adapter prompts in the attention of the last `layers` layers."""

    length: int = option(10, "prompt tokens per layer", low=1)
    layers: int | None = option(None, "layers with a prompt; null: all of them", low=1)
    video_bias: float | None = option(
        3.5, "gate2 starts at minus this: text rows hardly look at video at first; null: single gate, no bias (LLaMA-3)"
    )
    skip_lower_layers: bool = option(
        False,
        "allow layers < the model's: the first ones are then left out entirely, as in the official code",
    )


@dataclass
class VideoLMConfig:
    """What BoViLA and LLaMA-VQA have in common."""

    size: str = option("llama_7b", "a row of vidalign/models/bovila/sizes.py")
    llm: LLMConfig = option(LLMConfig, "the frozen language model")
    adapter: AdapterConfig = option(AdapterConfig, "adapter prompts")
    num_frames: int = option(10, "visual tokens per video", low=1)
    visual_dim: int = option(768, "width of a visual feature", low=1)
    max_seq_len: int = option(160, "longest row in tokens; longer rows are cut or refused (see `overflow`)", low=16)
    overflow: str = option(
        "error",
        "a row whose answer does not fit: error names the sample; official cuts it",
        choices=("error", "official"),
    )

    def problems(self) -> list[tuple[str, str]]:
        """What does not fit the language model's size: (key, sentence)."""
        if self.size not in SIZES:
            return [("size", f"{unknown('size', self.size, SIZES)} Choose one of them.")]
        found = []
        depth, layers = SIZES[self.size].get("n_layers"), self.adapter.layers
        if depth is not None and layers is not None:
            if layers > depth:
                found.append(("adapter.layers", f"{self.size} has {depth} layers. Write {depth}, or null for all."))
            if layers < depth and not self.adapter.skip_lower_layers:
                text = (
                    f"{self.size} has {depth} layers; with {layers} the first {depth - layers} would be left out. "
                    f"Write {depth} or null, or allow it with model.adapter.skip_lower_layers: true."
                )
                found.append(("adapter.layers", text))
        if self.num_frames >= self.max_seq_len:
            text = f"{self.num_frames} video tokens leave no room in max_seq_len {self.max_seq_len}. Lower it."
            found.append(("num_frames", text))
        if self.llm.official_rope and depth is not None and "rope_theta" not in SIZES[self.size]:
            text = f"{self.size} has rotary base 10000 anyway; this is for LLaMA-3. Remove it."
            found.append(("llm.official_rope", text))
        return found


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


def _missing_shards(folder: Path) -> list[str]:
    """What a folder in Meta's format lacks."""
    if text := missing(folder, folder=True):
        return [f"{text} Give the folder with consolidated.*.pth and params.json."]
    lacking = [name for name in ("consolidated.*.pth", "params.json") if not any(folder.glob(name))]
    hint = " It looks like a Hugging Face folder: write format: hf." if (folder / "config.json").is_file() else ""
    return [f"{folder} holds no {name}.{hint} Give the folder with Meta's files." for name in lacking]
