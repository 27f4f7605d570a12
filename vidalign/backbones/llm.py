"""A frozen Hugging Face causal LM that takes embeddings and adapter prompts.

Shape letters: B rows, T positions, D width, V vocabulary, N selected positions.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vidalign.backbones import prompt_attention
from vidalign.backbones.packing import Packing
from vidalign.backbones.prompt_attention import Prompts
from vidalign.common.errors import CheckpointError, ConfigError


class FrozenCausalLM(nn.Module):
    """Embeddings (B, T, D) -> final hidden states (B, T, D) -> logits (.., V), every parameter frozen.

    `exact` takes the official order of operations (attention, rotary table in float32); otherwise fused kernels run.
    `keep_last` leaves out all but the last layers entirely.
    """

    def __init__(self, lm: nn.Module, *, exact: bool = False, keep_last: int | None = None) -> None:
        super().__init__()
        prompt_attention.register()
        self.lm = lm.requires_grad_(False)
        self.num_layers_of_file = len(self.body.layers)
        if keep_last is not None and keep_last < len(self.body.layers):
            self._drop_lower_layers(keep_last)
        if exact and not isinstance(self.body.rotary_emb, _Float32Rotary):
            self.body.rotary_emb = _Float32Rotary(self.body.rotary_emb)
        lm.set_attn_implementation(prompt_attention.EXACT if exact else prompt_attention.FAST)

    @property
    def body(self) -> nn.Module:
        """The decoder without its head: `.layers`, `.norm`, `.embed_tokens`, `.rotary_emb`."""
        return getattr(self.lm, self.lm.base_model_prefix)

    @property
    def head(self) -> nn.Module:
        """Linear D -> V."""
        return self.lm.get_output_embeddings()

    @property
    def embeddings(self) -> Tensor:
        """The token table (V, D)."""
        return self.lm.get_input_embeddings().weight

    @property
    def dtype(self) -> torch.dtype:
        """Of the frozen weights and the activations."""
        return self.embeddings.dtype

    @property
    def dim(self) -> int:
        """Width D."""
        return self.lm.config.hidden_size

    @property
    def num_heads(self) -> int:
        """Query heads."""
        return self.lm.config.num_attention_heads

    @property
    def vocab_size(self) -> int:
        """Rows of the token table."""
        return self.embeddings.shape[0]

    def embed(self, ids_BT: Tensor) -> Tensor:
        """Token embeddings (B, T, D), without gradient."""
        with torch.no_grad():
            return self.lm.get_input_embeddings()(ids_BT)

    def forward(
        self,
        x_BTD: Tensor,
        *,
        prompts: Prompts | None = None,
        mask_B1TT: Tensor | None = None,
        position_ids_BT: Tensor | None = None,
        cache: Any | None = None,
        packing: Packing | None = None,
    ) -> Tensor:
        """All layers and the final norm. `mask_B1TT`: bool, True where a row may look; None for causal.

        cache: keys and values of what came before (`new_cache`); it grows by x, which is the whole prompt or one token.
        packing: x is one packed row (1, N, D); not with the exact attention.
        """
        longest = x_BTD.shape[1] if packing is None else packing.take_RT.shape[1]
        window = getattr(self.lm.config, "sliding_window", None)
        if window is not None and longest > window:
            raise ConfigError(
                f"rows of {longest} tokens exceed this language model's sliding window of {window}; "
                "set model.max_seq_len below it"
            )
        return self.body(
            inputs_embeds=x_BTD,
            attention_mask=mask_B1TT,
            position_ids=position_ids_BT if packing is None else packing.column_N[None],
            use_cache=cache is not None,
            past_key_values=cache,
            prompts=prompts,
            packing=packing,
        ).last_hidden_state

    def new_cache(self) -> Any:
        """An empty key/value cache for `forward`."""
        from transformers import DynamicCache

        return DynamicCache()

    def logits(self, hidden: Tensor) -> Tensor:
        """(.., D) -> (.., V) in the LM's dtype."""
        return self.head(hidden)

    def block(self, index: int, x_BTD: Tensor, *, prompts: Prompts | None = None) -> Tensor:
        """One layer on its own, for tests and probes."""
        positions = torch.arange(x_BTD.shape[1], device=x_BTD.device)[None]
        rotary = self.rotary_table(x_BTD.shape[1])
        return self.body.layers[index](x_BTD, position_embeddings=rotary, position_ids=positions, prompts=prompts)

    def rotate(self, query_BTHC: Tensor, key_BTKC: Tensor) -> tuple[Tensor, Tensor]:
        """The LM's own rotary embedding of positions 0 .. T-1, for tests and probes (Hugging Face order inside C)."""
        from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

        cos, sin = self.rotary_table(query_BTHC.shape[1])
        return apply_rotary_pos_emb(query_BTHC, key_BTKC, cos, sin, unsqueeze_dim=2)

    def rotary_table(self, length: int) -> tuple[Tensor, Tensor]:
        """cos and sin (1, length, C) as the attention layers get them."""
        positions = torch.arange(length, device=self.embeddings.device)[None]
        return self.body.rotary_emb(self.embeddings, position_ids=positions)

    def _drop_lower_layers(self, keep: int) -> None:
        self.body.layers = nn.ModuleList(list(self.body.layers)[-keep:])
        self.lm.config.num_hidden_layers = keep
        for index, layer in enumerate(self.body.layers):
            layer.self_attn.layer_idx = index


class _Float32Rotary(nn.Module):
    """The LM's rotary table in float32 whatever the activations' type, as the official LLaMA code has it."""

    def __init__(self, rotary: nn.Module) -> None:
        super().__init__()
        self.rotary = rotary

    def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        return self.rotary(x.new_empty(0, dtype=torch.float32), position_ids)


def load_hf(path: str | Path, *, dtype: torch.dtype) -> nn.Module:
    """A causal LM from a Hugging Face folder or hub name; every weight must be in the file.

    Where the default device is meta (a dry run) only the config is read. Code that comes with the weights is never run.
    """
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        if torch.get_default_device().type == "meta":
            return AutoModelForCausalLM.from_config(
                AutoConfig.from_pretrained(str(path), trust_remote_code=False), dtype=dtype, trust_remote_code=False
            )
        # dtype is always given: transformers 5 otherwise keeps whatever the file has.
        lm, report = AutoModelForCausalLM.from_pretrained(
            str(path), dtype=dtype, output_loading_info=True, trust_remote_code=False, weights_only=True
        )
    except (OSError, ValueError, RuntimeError, pickle.UnpicklingError, SafetensorError) as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path}: no Hugging Face causal LM that can be loaded safely: {why}") from error
    problems = [
        f"{kind.replace('_', ' ')}: {sorted(map(str, report[kind]))}"
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")
        if report.get(kind)
    ]
    if problems:
        raise CheckpointError(f"{path} does not fit {type(lm).__name__} completely:\n  " + "\n  ".join(problems))
    return lm
