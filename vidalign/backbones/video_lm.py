"""The part BoViLA, LLaMA-VQA and TOPA share: a frozen LM that reads visual tokens between its words.

Shape letters: B samples, O options, R rows, T positions, D width, F frames, E width of a visual feature, V vocabulary,
N packed tokens, K wanted positions.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from einops import repeat
from torch import Tensor, nn

from vidalign.backbones.llm import FrozenCausalLM, load_hf
from vidalign.backbones.llm_sizes import SIZES
from vidalign.backbones.meta_llama import build_llama, llama_config, load_meta, read_params
from vidalign.backbones.packing import Packing
from vidalign.backbones.video_prompts import VideoPrompts, embed_with_video
from vidalign.common.errors import ConfigError

_log = logging.getLogger(__name__)

DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


class VideoLM(nn.Module):
    """Video features and token rows -> hidden states -> logits at chosen positions.

    `exact` runs every stream in a pass of its own and computes all logits, as the official code does; otherwise streams
    travel packed, without padding, and hidden states and logits exist only where they are needed.
    """

    def __init__(self, llm: FrozenCausalLM, adapter: VideoPrompts, *, exact: bool = False) -> None:
        super().__init__()
        self.llm, self.adapter, self.exact = llm, adapter, exact

    def video(self, video_BFE: Tensor) -> tuple[Tensor, Tensor]:
        """-> (visual tokens (B, F, D) in the LM's dtype, projected features (B, F, D) in float32)."""
        projected = self.adapter.project(video_BFE)
        return self.adapter.tokens(projected, dtype=self.llm.dtype), projected

    def embed(self, stream: dict[str, Tensor], tokens_BFD: Tensor) -> Tensor:
        """A stream's rows as embeddings (B*O, T, D), the visual tokens in their place."""
        num_options = stream["ids"].shape[1]
        start_R = repeat(stream["video_start"], "b -> (b o)", o=num_options)
        tokens_RFD = repeat(tokens_BFD, "b f d -> (b o) f d", o=num_options)
        return embed_with_video(self.llm, stream["ids"].flatten(0, 1), tokens_RFD, start_R)

    def hidden(
        self, embedded: list[Tensor], bias_starts: list[Tensor | None], *, packing: dict[str, Any] | None = None
    ) -> list[Tensor]:
        """Embeddings of several streams -> per stream the final hidden states (R, T, D), or with `packing` (K, D).

        bias_starts: per stream the first video column of each row, None where text rows get no video bias. packing:
        fields of a Packing (see pack_rows); all streams make one pass, and only wanted positions come back. The exact
        path takes no notice of it.
        """
        if self.exact or packing is None:
            return [self._pass(x, start) for x, start in zip(embedded, bias_starts, strict=True)]
        pack = Packing(**packing)
        no_bias = [
            x.new_full((x.shape[0],), -1, dtype=torch.long) if start is None else start
            for x, start in zip(embedded, bias_starts, strict=True)
        ]
        x_ND = torch.cat([x.flatten(0, 1) for x in embedded])[pack.source_N]
        [hidden_ND] = self._pass(x_ND[None], torch.cat(no_bias), pack)
        return [hidden_ND[wanted_K] for wanted_K in pack.wanted]

    def at(self, hidden: Tensor, rows_K: Tensor) -> Tensor:
        """States (K, D) at flat positions of (R, T, D); packed ones are these already."""
        return hidden if hidden.ndim == 2 else hidden.flatten(0, 1)[rows_K]

    def logits(self, hidden: Tensor, rows_K: Tensor) -> Tensor:
        """Logits (K, V) at the same positions; the exact path first computes all of them."""
        if self.exact:
            return self.llm.logits(hidden).flatten(0, 1)[rows_K]
        return self.llm.logits(self.at(hidden, rows_K))

    def _pass(self, x_RTD: Tensor, start_R: Tensor | None, packing: Packing | None = None) -> Tensor:
        prompts = self.adapter.prompts(dtype=self.llm.dtype, video_start_R=start_R)
        return self.llm(x_RTD, prompts=prompts, packing=packing)

    def checkpoint_blocks(self) -> list[nn.Module]:
        """The modules that activation checkpointing wraps."""
        return list(self.llm.body.layers)


def row_starts(stream: dict[str, Tensor]) -> Tensor:
    """First video column of every row (B*O,) of a stream."""
    return stream["video_start"].repeat_interleave(stream["ids"].shape[1])


def build_video_lm(config: Any, *, dtype: torch.dtype | None) -> VideoLM:
    """From a VideoLMConfig. `dtype` of the frozen weights overrides `llm.dtype`."""
    lm = _load_language_model(config, dtype or DTYPES[config.llm.dtype])
    num_layers = lm.config.num_hidden_layers
    prompted = config.adapter.layers or num_layers
    if prompted > num_layers:
        raise ConfigError(f"model.adapter.layers: {prompted}, but the language model has only {num_layers} layers")
    if prompted < num_layers and not config.adapter.skip_lower_layers:
        # Changed: the official code leaves the lower layers out without a word; no published run does that.
        raise ConfigError(
            f"model.adapter.layers: {prompted}, but the language model has {num_layers} layers, and layers without a "
            f"prompt are left out entirely. Set it to {num_layers} (or null), or say "
            "model.adapter.skip_lower_layers: true"
        )
    exact = config.llm.attention == "exact"
    llm = FrozenCausalLM(lm, exact=exact, keep_last=prompted)
    adapter = VideoPrompts(
        dim=llm.dim,
        num_heads=llm.num_heads,
        num_layers=num_layers,
        num_prompted=prompted,
        prompt_length=config.adapter.length,
        num_frames=config.num_frames,
        visual_dim=config.visual_dim,
        video_bias=config.adapter.video_bias,
        temporal_std=config.adapter.temporal_std,
    )
    if config.adapter.visual_start is not None:
        adapter.start_from(config.adapter.visual_start)
    return VideoLM(llm, adapter, exact=exact)


def _load_language_model(config: Any, dtype: torch.dtype) -> nn.Module:
    size = SIZES[config.size]
    if config.llm.format == "random":
        if not size:
            raise ConfigError(f"model.size: {config.size!r} needs weights; format random needs a named size")
        return build_llama(
            llama_config(size, vocab_size=size["vocab_size"], official_rope=config.llm.official_rope), dtype=dtype
        )
    if config.llm.path is None:
        raise ConfigError("model.llm.path is missing: the folder of the language model (or model.llm.format: random)")
    if config.llm.format == "meta":
        params = {"norm_eps": 1e-5, "rope_theta": 10000.0, **read_params(Path(config.llm.path))}
        _compare_size(config.size, size, params, where=f"{config.llm.path}/params.json")
        return load_meta(config.llm.path, dtype=dtype, official_rope=config.llm.official_rope)
    lm = load_hf(config.llm.path, dtype=dtype)
    found = {
        "dim": lm.config.hidden_size,
        "n_layers": lm.config.num_hidden_layers,
        "n_heads": lm.config.num_attention_heads,
        "norm_eps": getattr(lm.config, "rms_norm_eps", None),
        "rope_theta": (getattr(lm.config, "rope_parameters", None) or {}).get("rope_theta"),
    }
    _compare_size(config.size, size, found, where=config.llm.path)
    return lm


def _compare_size(name: str, size: dict[str, Any], found: dict[str, Any], *, where: str) -> None:
    different = {k: (size[k], found[k]) for k in ("dim", "n_layers", "n_heads") if k in size and size[k] != found[k]}
    if different:
        told = ", ".join(f"{k} {want} but {got} in the file" for k, (want, got) in different.items())
        raise ConfigError(f"model.size: {name!r} has {told} ({where}); name the right size or say size: from_file")
    if not size:
        return
    # Llama 2 has the shapes of LLaMA-1; these two tell them apart. Both are taken from the file.
    constants = {"norm_eps": size["norm_eps"], "rope_theta": size.get("rope_theta", 10000.0)}
    told = ", ".join(f"{k} {want:g} but {found[k]} in the file" for k, want in constants.items() if found[k] != want)
    if told:
        _log.warning(
            f"model.size: {name!r} has {told} ({where}): these look like weights of another generation. Adapters fit "
            "only the language model they were trained on, and LLaMA-1 recipes (BoViLA, LLaMA-VQA) on Llama 2 end in "
            "NaN or chance. Name the size that the weights are, or give others in model.llm.path"
        )


def find_tokenizer(config: Any) -> Path | None:
    """The tokenizer file of the config: `llm.tokenizer`, else tokenizer.model beside or above the weights."""
    if config.llm.tokenizer is not None:
        return Path(config.llm.tokenizer)
    if config.llm.path is None:
        return None
    folder = Path(config.llm.path)
    for place in (folder / "tokenizer.model", folder.parent / "tokenizer.model"):
        if place.is_file():
            return place
    raise ConfigError(
        f"model.llm.tokenizer: no tokenizer.model in {folder} or {folder.parent}; give the file's path there"
    )
