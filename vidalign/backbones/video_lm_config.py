"""Settings that every system on a frozen language model with visual tokens has. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vidalign.backbones.llm_sizes import SIZES
from vidalign.common.errors import unknown
from vidalign.common.options import option
from vidalign.common.paths import missing, missing_model


@dataclass
class LLMConfig:
    """The frozen language model."""

    path: str | None = option(None, "folder with the weights; null only with format random", path=True)
    format: str = option(
        "meta",
        "meta: consolidated.NN.pth + params.json; hf: Hugging Face folder or hub name; random: no weights",
        choices=("meta", "hf", "random"),
    )
    tokenizer: str | None = option(
        None, "tokenizer.model (SentencePiece or tiktoken); null: beside or above the weights", path=True
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
    temporal_std: float = option(
        1.0, "standard deviation of the temporal embedding's random start; 1 as published", low=0.0
    )
    skip_lower_layers: bool = option(
        False,
        "allow layers < the model's: the first ones are then left out entirely, as in the official code",
    )
    visual_start: str | None = option(
        None,
        "file with start values of visual_proj and temporal_emb; null: random, as published",
        path=True,
    )

    def missing_files(self) -> list[tuple[str, str]]:
        """Files that are not where the config says: (key, sentence)."""
        text = missing(self.visual_start) if self.visual_start is not None else None
        return [("visual_start", f"{text} Give the path of the file, or null.")] if text else []


@dataclass
class VideoLMConfig:
    """What BoViLA, LLaMA-VQA and TOPA have in common."""

    size: str = option("llama_7b", "a row of vidalign/backbones/llm_sizes.py")
    llm: LLMConfig = option(LLMConfig, "the frozen language model")
    adapter: AdapterConfig = option(AdapterConfig, "adapter prompts")
    num_frames: int = option(10, "visual tokens per video", low=1)
    visual_dim: int = option(768, "width of a visual feature", low=1)
    max_seq_len: int = option(160, "longest row in tokens; longer rows are cut or refused (see `overflow`)", low=16)
    overflow: str = option(
        "error",
        "a row whose answer does not fit: error names the sample; official cuts it; skip leaves the sample out in "
        "training too, counted as failed (see run.max_failed_share)",
        choices=("error", "official", "skip"),
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


def _missing_shards(folder: Path) -> list[str]:
    """What a folder in Meta's format lacks."""
    if text := missing(folder, folder=True):
        return [f"{text} Give the folder with consolidated.*.pth and params.json."]
    lacking = [name for name in ("consolidated.*.pth", "params.json") if not any(folder.glob(name))]
    hint = " It looks like a Hugging Face folder: write format: hf." if (folder / "config.json").is_file() else ""
    return [f"{folder} holds no {name}.{hint} Give the folder with Meta's files." for name in lacking]
