"""FLAN-T5 as a frozen reader of visual tokens and text (transformers' T5; arXiv 2210.11416; spec vila, section 2.5).

Its output head is a matrix of its own. transformers 5 ties it to the token table unless told otherwise, which gives
wrong answers without a word: every way to build or load the model here ends in `untie`.
Shape letters: B samples, T encoder positions, L decoder positions, D width, V vocabulary, N supervised positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidalign.common.errors import CheckpointError, ConfigError

ALIASES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")


def flan_t5_config(sizes: Mapping[str, Any], *, dropout: float = 0.1, exact: bool = False) -> Any:
    """transformers' T5Config with FLAN-T5's settings: gated feed-forward layers, no tied head, no rescaled output."""
    from transformers import T5Config

    config = T5Config(
        **sizes,
        feed_forward_proj="gated-gelu",
        dropout_rate=dropout,
        decoder_start_token_id=0,
        tie_word_embeddings=False,
    )
    return _as_used(config, exact=exact)


def _as_used(config: Any, *, exact: bool) -> Any:
    # Kept: InstructBLIP and BLIP-2 were trained against the exact GELU, not the tanh form in FLAN-T5's config. [t5]
    config.dense_act_fn = "gelu"
    config.tie_word_embeddings = False
    config.scale_decoder_outputs = False
    config._attn_implementation = "eager" if exact else "sdpa"
    return config


def build_flan_t5(config: Any, *, dtype: torch.dtype = torch.float32) -> nn.Module:
    """T5ForConditionalGeneration with random weights in `dtype`, its head untied."""
    from transformers import T5ForConditionalGeneration

    return untie(T5ForConditionalGeneration(config).to(dtype))


def load_flan_t5(path: Path | str, *, dtype: torch.dtype, exact: bool = False) -> nn.Module:
    """From a Hugging Face folder or hub name, e.g. google/flan-t5-xl. On the meta device only its shapes.

    CheckpointError when it is no FLAN-T5: the original T5 has one feed-forward matrix and a tied head.
    """
    from transformers import AutoConfig, T5ForConditionalGeneration

    try:
        config = AutoConfig.from_pretrained(path, trust_remote_code=False)
        if config.model_type != "t5" or not config.is_gated_act:
            raise CheckpointError(f"{path}: a {config.model_type} model, not a FLAN-T5; give e.g. google/flan-t5-xl")
        config = _as_used(config, exact=exact)
        if torch.get_default_device().type == "meta":
            return build_flan_t5(config, dtype=dtype)
        t5, report = T5ForConditionalGeneration.from_pretrained(
            path, config=config, dtype=dtype, output_loading_info=True
        )
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: FLAN-T5 cannot be loaded: {str(error).splitlines()[0]}") from error
    lacking = sorted(set(report["missing_keys"]) - set(ALIASES))
    if lacking or report["unexpected_keys"]:
        named = ", ".join([*lacking, *sorted(report["unexpected_keys"])][:5])
        raise CheckpointError(f"{path}: not a complete FLAN-T5; names that differ: {named}")
    return untie(t5)


def untie(t5: nn.Module) -> nn.Module:
    """Make sure that the head is a parameter of its own and stays one; returns the same model.

    With the head, transformers also unties the two stacks' token tables from the shared one; they belong together.
    """
    t5.config.tie_word_embeddings = False
    t5.set_input_embeddings(t5.shared)
    if t5.lm_head.weight is t5.shared.weight:
        t5.lm_head.weight = nn.Parameter(t5.shared.weight.detach().clone())
    return t5


def is_tied(t5: nn.Module) -> bool:
    """Whether the head shares memory with the token table, or would be tied at the next chance."""
    base = unwrapped(t5)
    return base.lm_head.weight is base.shared.weight or bool(base.config.tie_word_embeddings)


def add_lora(t5: nn.Module, *, rank: int, alpha: float, dropout: float, targets: tuple[str, ...] = ("q", "v")) -> Any:
    """The model with trainable low-rank factors on its `targets` layers (peft; key names as in the released layout)."""
    try:
        from peft import LoraConfig, TaskType, get_peft_model
    except ImportError as error:
        raise ConfigError("model.lora needs the package peft: pip install peft") from error
    lora = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        bias="none",
        target_modules=list(targets),
        task_type=TaskType.SEQ_2_SEQ_LM,
    )
    return get_peft_model(t5, lora)


def unwrapped(t5: nn.Module) -> nn.Module:
    """The T5ForConditionalGeneration inside a LoRA wrapper, or itself."""
    return t5.get_base_model() if hasattr(t5, "get_base_model") else t5


def encode(t5: nn.Module, embeds_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """Encoder output (B, T, D)."""
    base = unwrapped(t5)
    return base.encoder(inputs_embeds=embeds_BTD, attention_mask=mask_BT).last_hidden_state


def embed(t5: nn.Module, ids: Tensor) -> Tensor:
    """Token embeddings (..., D)."""
    return unwrapped(t5).shared(ids)


def hidden_of_labels(
    t5: nn.Module, encoded_BTD: Tensor, mask_BT: Tensor, labels_BL: Tensor, decoder_mask_BL: Tensor | None = None
) -> Tensor:
    """Teacher-forced decoder states (B, L, D); labels are -100 on padding and are shifted right after id 0."""
    base = unwrapped(t5)
    ids_BL = F.pad(labels_BL[:, :-1], (1, 0), value=base.config.decoder_start_token_id)
    ids_BL = ids_BL.masked_fill(ids_BL == -100, 0)
    return base.decoder(
        input_ids=ids_BL,
        attention_mask=decoder_mask_BL,
        encoder_hidden_states=encoded_BTD,
        encoder_attention_mask=mask_BT,
        use_cache=False,
    ).last_hidden_state


def logits(t5: nn.Module, hidden: Tensor) -> Tensor:
    """Scores of all words (..., V)."""
    return unwrapped(t5).lm_head(hidden)


def label_loss(logits_BLV: Tensor, labels_BL: Tensor) -> Tensor:
    """Mean cross-entropy over all target tokens of the batch, in float32."""
    return F.cross_entropy(logits_BLV.flatten(0, 1).float(), labels_BL.flatten(), ignore_index=-100)


def label_losses(logits_BLV: Tensor, labels_BL: Tensor) -> Tensor:
    """Summed cross-entropy of each sample (B,), in float32."""
    loss = F.cross_entropy(logits_BLV.mT.float(), labels_BL, ignore_index=-100, reduction="none")
    return loss.sum(dim=1)


def position_buckets(offsets: Tensor, *, bidirectional: bool, num_buckets: int, max_distance: int) -> Tensor:
    """Bucket of each offset (key position minus query position)."""
    from transformers.models.t5.modeling_t5 import T5Attention

    return T5Attention._relative_position_bucket(offsets, bidirectional, num_buckets, max_distance)


def position_bias(t5: nn.Module, length: int) -> Tensor:
    """The encoder's additive bias (1, heads, length, length)."""
    return unwrapped(t5).encoder.block[0].layer[0].SelfAttention.compute_bias(length, length)


def freeze(t5: nn.Module) -> None:
    """No gradient for any weight. Kept: dropout stays active in training all the same (spec vila, trap 7)."""
    for parameter in t5.parameters():
        parameter.requires_grad_(False)
