"""Meta's LLaMA files (`params.json`, `consolidated.NN.pth`) as Hugging Face causal LMs.

Two things differ between the layouts: the names, and the order of the rows of wq and wk inside a head. Meta rotates
adjacent pairs (2i, 2i+1), Hugging Face rotates (i, i + C/2); permuting the rows makes both compute the same scores.

Shape letters: H heads, C head width, D width.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from vidalign.checkpoint.fit import require_fit
from vidalign.checkpoint.load import safe_load
from vidalign.common.errors import CheckpointError

_TOP = {"tok_embeddings": "model.embed_tokens", "norm": "model.norm", "output": "lm_head"}
_LAYER = {
    "attention.wq": "self_attn.q_proj",
    "attention.wk": "self_attn.k_proj",
    "attention.wv": "self_attn.v_proj",
    "attention.wo": "self_attn.o_proj",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w2": "mlp.down_proj",
    "feed_forward.w3": "mlp.up_proj",
    "attention_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
# Model-parallel shards are joined along this dimension; what is not listed (norms) is equal in every shard.
_SPLIT_DIM = {
    "tok_embeddings": 1,
    "attention.wo": 1,
    "feed_forward.w2": 1,
    "output": 0,
    "attention.wq": 0,
    "attention.wk": 0,
    "attention.wv": 0,
    "feed_forward.w1": 0,
    "feed_forward.w3": 0,
}


def llama_config(params: Mapping[str, Any], *, vocab_size: int, official_rope: bool = False) -> Any:
    """`params.json` -> LlamaConfig.

    Keys: dim, n_layers, n_heads, multiple_of, norm_eps, and for LLaMA-3 n_kv_heads, ffn_dim_multiplier, rope_theta,
    use_scaled_rope. `official_rope` keeps the rotary base at 10000 whatever the file says, as the official BoViLA code
    does.
    """
    from transformers import LlamaConfig

    dim = params["dim"]
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": float(params.get("rope_theta", 10000.0))}
    if params.get("use_scaled_rope"):
        # Meta's constants of LLaMA-3.1 (public llama-models repository, model.py: apply_scaling).
        scaling = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
        rope |= {"rope_type": "llama3", "original_max_position_embeddings": 8192, **scaling}
    if official_rope:
        # Kept: released BoViLA LLaMA-3 adapters were trained with base 10000 (spec bovila 2.8). [llama3_train]
        rope = {"rope_type": "default", "rope_theta": 10000.0}
    return LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=dim,
        intermediate_size=params.get("ffn_hidden") or _ffn_hidden(params),
        num_hidden_layers=params["n_layers"],
        num_attention_heads=params["n_heads"],
        num_key_value_heads=params.get("n_kv_heads") or params["n_heads"],
        rms_norm_eps=params.get("norm_eps", 1e-5),
        rope_parameters=rope,
        tie_word_embeddings=False,
        use_cache=False,
    )


def _ffn_hidden(params: Mapping[str, Any]) -> int:
    """Two thirds of 4 D, times the multiplier, rounded up to `multiple_of`."""
    hidden = int(2 * 4 * params["dim"] / 3)
    if params.get("ffn_dim_multiplier") is not None:
        hidden = int(params["ffn_dim_multiplier"] * hidden)
    multiple = params.get("multiple_of", 256)
    return multiple * ((hidden + multiple - 1) // multiple)


def params_of_weights(params: Mapping[str, Any], state: Mapping[str, Tensor]) -> dict[str, Any]:
    """`params` with the key/value heads and the feed-forward width that the weights (Meta names) themselves show."""
    head_dim = params["dim"] // params["n_heads"]
    return {
        **params,
        "n_kv_heads": state["layers.0.attention.wk.weight"].shape[0] // head_dim,
        "ffn_hidden": state["layers.0.feed_forward.w1.weight"].shape[0],
    }


def build_llama(config: Any, *, dtype: torch.dtype) -> nn.Module:
    """A LlamaForCausalLM with random weights of the given type (on the current default device)."""
    from transformers import LlamaForCausalLM

    return LlamaForCausalLM._from_config(config, dtype=dtype)


def read_params(folder: Path) -> dict[str, Any]:
    """The folder's params.json."""
    path = folder / "params.json"
    if not path.is_file():
        raise CheckpointError(f"{path} is missing: a Meta LLaMA folder holds params.json and consolidated.NN.pth")
    try:
        params = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CheckpointError(f"{path} is not a JSON file ({error}); fetch it again") from error
    needed = [name for name in ("dim", "n_layers", "n_heads") if not _is_size(params, name)]
    if needed:
        raise CheckpointError(f"{path} is not Meta's params.json: no whole number for {', '.join(needed)}")
    return params


def _is_size(params: Any, name: str) -> bool:
    return isinstance(params, dict) and isinstance(params.get(name), int) and params[name] > 0


def read_shards(folder: Path) -> list[dict[str, Tensor]]:
    """The folder's consolidated.NN.pth, memory-mapped, in ascending order; headers alone where the default device is
    meta (a dry run).

    Changed: the official code takes them in directory order, which scrambles the model on some file systems.
    """
    paths = sorted(folder.glob("consolidated.*.pth"))
    if not paths:
        raise CheckpointError(
            f"{folder} holds no consolidated.NN.pth; for Hugging Face folders set model.llm.format: hf"
        )
    where = "meta" if torch.get_default_device().type == "meta" else "cpu"
    shards = [safe_load(path, map_location=where, mmap=True) for path in paths]
    first = {name: getattr(value, "shape", None) for name, value in shards[0].items()}
    for path, shard in zip(paths, shards, strict=True):
        for name in first.keys() | shard.keys():
            # Model-parallel shards hold equal parts of the same weights.
            if not isinstance(shard.get(name), torch.Tensor) or shard[name].shape != first.get(name):
                raise CheckpointError(f"{path}: {name!r} is no tensor, or not as in {paths[0].name}; fetch it again")
    return shards


def merge_shards(shards: list[Mapping[str, Tensor]], *, dim: int | None = None) -> dict[str, Tensor]:
    """Model-parallel shards -> one dictionary under Meta's names (spec bovila, section 8).

    `dim` is the model's width. Newer files split the token table along the vocabulary; that is recognised when a
    shard's table already has the full width.
    """
    merged = {}
    for name, first in shards[0].items():
        split = _SPLIT_DIM.get(_kind(name)) if first.ndim == 2 else None
        if split is None or len(shards) == 1:
            merged[name] = first
            continue
        if _kind(name) == "tok_embeddings" and dim is not None and first.shape[1] == dim:
            split = 0
        merged[name] = torch.cat([shard[name] for shard in shards], dim=split)
    return merged


def split_dim(name: str) -> int:
    """The dimension along which model-parallel shards divide a weight (Meta's name); -1: every shard has it whole."""
    return _SPLIT_DIM.get(_kind(name), -1)


def load_meta(folder: str | Path, *, dtype: torch.dtype, official_rope: bool = False) -> nn.Module:
    """A Meta folder -> LlamaForCausalLM, every weight accounted for."""
    folder = Path(folder)
    params = read_params(folder)
    state = merge_shards(read_shards(folder), dim=params["dim"])
    vocab_size = state["tok_embeddings.weight"].shape[0] if "tok_embeddings.weight" in state else 0
    config = llama_config(params, vocab_size=vocab_size, official_rope=official_rope)
    with torch.device("meta"):
        lm = build_llama(config, dtype=dtype)
    load_meta_state(lm, state, where=str(folder), dtype=dtype)
    return lm


def load_meta_state(lm: nn.Module, state: Mapping[str, Tensor], *, where: str, dtype: torch.dtype) -> list[str]:
    """Put weights under Meta's names into `lm`, completely or not at all. Returns the names left out on purpose."""
    ignored = [name for name in state if name.endswith("rope.freqs")]
    kept = {name: tensor for name, tensor in state.items() if name not in set(ignored)}
    wanted = {meta_name(name): tuple(p.shape) for name, p in lm.state_dict().items()}
    require_fit(wanted, kept, where=where)
    config = lm.config
    converted = {
        hf_name(name): to_hf(name, tensor.to(dtype), head_dim=config.head_dim) for name, tensor in kept.items()
    }
    lm.load_state_dict(converted, strict=True, assign=True)
    # Built on the meta device, the rotary tables (not in any file) have no values yet.
    body = getattr(lm, lm.base_model_prefix)
    if body.rotary_emb.inv_freq.is_meta:
        body.rotary_emb = type(body.rotary_emb)(config)
    return ignored


def hf_name(name: str) -> str:
    """Meta's parameter name -> Hugging Face's."""
    if name.startswith("layers."):
        _, index, rest = name.split(".", 2)
        kind, _, suffix = rest.rpartition(".")
        return f"model.layers.{index}.{_LAYER[kind]}.{suffix}"
    kind, _, suffix = name.rpartition(".")
    return f"{_TOP[kind]}.{suffix}"


def meta_name(name: str) -> str:
    """Hugging Face's parameter name -> Meta's."""
    stem, _, suffix = name.rpartition(".")
    if stem.startswith("model.layers."):
        _, _, index, rest = stem.split(".", 3)
        return f"layers.{index}.{_LAYER_BACK[rest]}.{suffix}"
    return f"{_TOP_BACK[stem]}.{suffix}"


_TOP_BACK = {ours: theirs for theirs, ours in _TOP.items()}
_LAYER_BACK = {ours: theirs for theirs, ours in _LAYER.items()}


def to_hf(name: str, tensor: Tensor, *, head_dim: int) -> Tensor:
    """A tensor in Meta's row order -> Hugging Face's; only wq and wk change."""
    return split_halves(tensor, head_dim) if _is_rotated(name) else tensor


def to_meta(name: str, tensor: Tensor, *, head_dim: int) -> Tensor:
    """The inverse of `to_hf` (`name` is Meta's)."""
    return join_pairs(tensor, head_dim) if _is_rotated(name) else tensor


def split_halves(weight: Tensor, head_dim: int) -> Tensor:
    """(H*C, ..): rows (i, pair member) -> (pair member, i) inside each head."""
    return rearrange(weight, "(h i two) ... -> (h two i) ...", i=head_dim // 2, two=2)


def join_pairs(weight: Tensor, head_dim: int) -> Tensor:
    """The inverse of `split_halves`."""
    return rearrange(weight, "(h two i) ... -> (h i two) ...", i=head_dim // 2, two=2)


def _is_rotated(name: str) -> bool:
    return _kind(name) in ("attention.wq", "attention.wk")


def _kind(name: str) -> str:
    stem = name.rpartition(".")[0]
    return stem.split(".", 2)[2] if stem.startswith("layers.") else stem
