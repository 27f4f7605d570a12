"""Adapter prompts inside the attention of any Hugging Face causal LM.

LLaMA-Adapter (arXiv 2303.16199) with the video bias of LLaMA-VQA (arXiv 2310.15747, released code): every layer l has a
few learned prompt vectors a. With K_a = Wk a, V_a = Wv a (no rotation, no norm) the attention output becomes

    tanh(gate) * softmax(q K_a^T / sqrt(C)) V_a  +  softmax(q K^T / sqrt(C) + causal + bias) V

with two separate softmaxes; `bias` adds a learned scalar per head to the scores of rows after the video block on the
columns of the video block. Two attention functions are registered with transformers: "vidalign_fast" (fused kernels)
and "vidalign_exact" (the official order of operations and rounding, the yardstick of the fast one).

Shape letters: B rows, T positions (Q query, S key), D width, H heads, K key/value heads, C head width, L prompted
layers, A prompts per layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vidalign.backbones.packing import Packing

FAST, EXACT = "vidalign_fast", "vidalign_exact"


@dataclass
class Prompts:
    """What one forward pass needs; built by `VideoPrompts`, handed through the LM to every attention layer.

    prompt_LAD: prompt vectors in the LM's dtype. gates, video_gates: per layer (1, H, 1, 1), float32; video_gates is
    None for the variant without video bias. video_start_B: first column of the video block of each row, -1 where the
    row has no bias;
    None: no row has one. num_frames: columns in the block. keys_values: of the prompts in each layer, filled on first
    use, so that decoding token by token computes them once; None: computed in every pass.
    """

    prompt_LAD: Tensor
    gates: list[Tensor]
    video_gates: list[Tensor] | None
    video_start_B: Tensor | None
    num_frames: int
    keys_values: dict[int, tuple[Tensor, Tensor]] | None = None


def register() -> None:
    """Make both attention functions known to transformers; safe to call again."""
    from transformers import AttentionInterface

    AttentionInterface.register(FAST, fast_attention)
    AttentionInterface.register(EXACT, exact_attention)


def fast_attention(
    module: nn.Module,
    query_BHQC: Tensor,
    key_BKSC: Tensor,
    value_BKSC: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    prompts: Prompts | None = None,
    packing: Packing | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Rotated q, k, v -> (B, Q, H, C), by fused kernels. `attention_mask`: (B, 1, Q, S) bool, None for causal.

    With `packing` the inputs are one packed row (B = 1), taken apart for the text's attention and packed again.
    """
    query, key, value = (x.to(value_BKSC.dtype) for x in (query_BHQC, key_BKSC, value_BKSC))
    layer = module.layer_idx
    grouped = query.shape[1] != key.shape[1]
    text_q, text_k, text_v = query, key, value
    if packing is not None:
        text_q, text_k, text_v = (_head_rows(packing, x) for x in (query, key, value))
    if prompts is not None and prompts.video_start_B is not None:
        text_q, text_k, text_v = _with_video_bias(
            text_q, text_k, text_v, gate=prompts.video_gates[layer], prompts=prompts, scaling=scaling
        )
    out = F.scaled_dot_product_attention(
        text_q,
        text_k,
        text_v,
        attn_mask=attention_mask,
        is_causal=attention_mask is None and _is_causal(query, key),
        scale=scaling,
        enable_gqa=grouped,
    )[..., : value.shape[-1]]
    if packing is not None:
        out = packing.packed(out.transpose(1, 2))[None].transpose(1, 2)
    if prompts is not None:
        prompt_k, prompt_v = (x.expand(len(query), -1, -1, -1) for x in _prompt_keys_values(module, prompts))
        read = F.scaled_dot_product_attention(query, prompt_k, prompt_v, scale=scaling, enable_gqa=grouped)
        out = out + prompts.gates[layer].tanh().to(out.dtype) * read
    return out.transpose(1, 2), None


def exact_attention(
    module: nn.Module,
    query_BHQC: Tensor,
    key_BKSC: Tensor,
    value_BKSC: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    prompts: Prompts | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """The same in the official order: scores in the LM's dtype, divided, masked, softmax in float32, cast, multiplied.

    [reference kinds: block, train and infer in float16]
    """
    dtype = value_BKSC.dtype
    repeats = query_BHQC.shape[1] // key_BKSC.shape[1]
    query = query_BHQC.to(dtype)
    key, value = (x.to(dtype).repeat_interleave(repeats, dim=1) for x in (key_BKSC, value_BKSC))
    scores_BHQS = query @ key.transpose(2, 3) / query.shape[-1] ** 0.5
    mask = attention_mask
    if mask is None:
        mask = torch.ones(scores_BHQS.shape[-2:], dtype=torch.bool, device=query.device)
        mask = mask.tril(key.shape[2] - query.shape[2])
    scores_BHQS = scores_BHQS.masked_fill(~mask, float("-inf"))
    if prompts is None:
        return (scores_BHQS.float().softmax(-1).to(dtype) @ value).transpose(1, 2), None

    layer = module.layer_idx
    prompt_k, prompt_v = (x.repeat_interleave(repeats, dim=1) for x in _prompt_keys_values(module, prompts))
    weights_prompt = (query @ prompt_k.transpose(2, 3) / query.shape[-1] ** 0.5).float().softmax(-1)
    gate = prompts.gates[layer].tanh()
    if prompts.video_gates is None:
        # Kept: the LLaMA-3 variant multiplies by its gate in float32 and casts afterwards. [llama3_train]
        weights_prompt = (weights_prompt * gate).to(dtype)
    else:
        weights_prompt = weights_prompt.to(dtype) * gate.to(dtype)
    if prompts.video_start_B is not None:
        rows_BQ, columns_BS = _video_block(query, key, prompts)
        on = (rows_BQ[:, None, :, None] & columns_BS[:, None, None, :]).to(dtype)
        scores_BHQS = scores_BHQS + on * prompts.video_gates[layer].to(dtype)
    # Kept: without video bias the official LLaMA-1 code takes this softmax in half precision. [block_adapter_no_video]
    upcast = prompts.video_gates is None or prompts.video_start_B is not None
    weights_text = (scores_BHQS.float() if upcast else scores_BHQS).softmax(-1).to(dtype)
    out = torch.cat([weights_prompt, weights_text], dim=-1) @ torch.cat(
        [prompt_v.expand(value.shape[0], -1, -1, -1), value], dim=2
    )
    return out.transpose(1, 2), None


def _head_rows(packing: Packing, x_1HNC: Tensor) -> Tensor:
    """A packed row -> rows (R, H, T, C)."""
    return packing.rows(x_1HNC[0].transpose(0, 1)).transpose(1, 2)


def _is_causal(query: Tensor, key: Tensor) -> bool:
    if query.shape[2] == 1:
        return False
    assert query.shape[2] == key.shape[2], "several new tokens on top of a cache need an explicit mask"
    return True


def _prompt_keys_values(module: nn.Module, prompts: Prompts) -> tuple[Tensor, Tensor]:
    """Prompt vectors through the layer's own key and value projections -> two (1, K, A, C), not rotated."""
    layer, known = module.layer_idx, prompts.keys_values
    if known is not None and layer in known:
        return known[layer]
    if not hasattr(module, "k_proj") or not hasattr(module, "v_proj"):
        raise ValueError(
            f"{type(module).__name__} has no separate k_proj and v_proj; adapter prompts need a language model that "
            "keeps them apart (Llama, Mistral, Qwen2 ...)"
        )
    key, value = (
        rearrange(proj(prompts.prompt_LAD[layer]), "a (k c) -> 1 k a c", c=module.head_dim)
        for proj in (module.k_proj, module.v_proj)
    )
    if known is not None:
        known[layer] = key, value
    return key, value


def _video_block(query: Tensor, key: Tensor, prompts: Prompts) -> tuple[Tensor, Tensor]:
    """Which rows get the bias (after the block), and on which columns (the block): two bool tensors (B, Q), (B, S)."""
    start_B1 = prompts.video_start_B[:, None]
    position_S = torch.arange(key.shape[2], device=key.device)[None]
    position_Q = position_S[:, key.shape[2] - query.shape[2] :]
    end_B1 = start_B1 + prompts.num_frames
    has_bias = start_B1 >= 0
    return has_bias & (position_Q >= end_B1), has_bias & (position_S >= start_B1) & (position_S < end_B1)


def _with_video_bias(
    query: Tensor, key: Tensor, value: Tensor, *, gate: Tensor, prompts: Prompts, scaling: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Fold the bias into one more feature: q_extra = gate / scaling on biased rows, k_extra = 1 on video columns.

    Their product times `scaling` is the bias, so a fused causal kernel needs no mask and `gate` gets its gradient.
    Fused CUDA kernels want equal widths that divide by 8, hence the zero columns there.
    """
    rows_BQ, columns_BS = _video_block(query, key, prompts)
    extra_q = rows_BQ[:, None, :, None].to(query.dtype) * (gate.to(query.dtype) / scaling)
    extra_k = columns_BS[:, None, :, None].to(key.dtype).expand(-1, key.shape[1], -1, -1)
    width = query.shape[-1] + 1
    pad = -width % 8 if query.is_cuda else 0
    query = F.pad(torch.cat([query, extra_q], dim=-1), (0, pad))
    key = F.pad(torch.cat([key, extra_k], dim=-1), (0, pad))
    return query, key, F.pad(value, (0, 1 + pad))
