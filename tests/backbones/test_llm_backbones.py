"""Meta shards and Hugging Face folders give equal outputs; prompts work on other causal LMs; cached decoding."""

from __future__ import annotations

import json

import pytest
import torch

from vidalign.backbones.generate import greedy
from vidalign.backbones.llm import FrozenCausalLM, load_hf
from vidalign.backbones.meta_llama import build_llama, llama_config, load_meta, meta_name, to_meta
from vidalign.backbones.video_prompts import VideoPrompts
from vidalign.common.errors import CheckpointError

PARAMS = {"dim": 32, "n_layers": 2, "n_heads": 4, "multiple_of": 16, "norm_eps": 1e-5, "vocab_size": -1}
VOCAB = 40
SPLIT = {"tok_embeddings": 1, "wo": 1, "w2": 1, "output": 0, "wq": 0, "wk": 0, "wv": 0, "w1": 0, "w3": 0}


def _lm(**params):
    torch.manual_seed(0)
    lm = build_llama(llama_config({**PARAMS, **params}, vocab_size=VOCAB), dtype=torch.float32)
    with torch.no_grad():
        for p in lm.parameters():
            p.copy_(torch.randn_like(p) * 0.2 + (p.ndim == 1))
    return lm


def _meta_state(lm):
    head_dim = lm.config.head_dim
    return {meta_name(n): to_meta(meta_name(n), t, head_dim=head_dim).clone() for n, t in lm.state_dict().items()}


def _write_shards(folder, state, count, *, params=PARAMS, vocab_split=False):
    folder.mkdir(parents=True)
    (folder / "params.json").write_text(json.dumps(params))
    for index in range(count):
        shard = {}
        for name, tensor in state.items():
            kind = name.split(".")[-2]
            dim = 0 if vocab_split and kind == "tok_embeddings" else SPLIT.get(kind)
            shard[name] = tensor if dim is None else tensor.chunk(count, dim)[index].clone()
        shard["layers.0.attention.inner_attention.rope.freqs"] = torch.ones(4)
        torch.save(shard, folder / f"consolidated.{index:02d}.pth")


def _hidden(lm):
    llm = FrozenCausalLM(lm)
    ids = torch.arange(20).view(2, 10) % VOCAB
    return llm.logits(llm(llm.embed(ids)))


@pytest.mark.parametrize("count", [1, 2, 4])
def test_meta_shards_and_hugging_face_folder_give_equal_outputs(tmp_path, count):
    lm = _lm()
    want = _hidden(lm)
    _write_shards(tmp_path / "meta", _meta_state(lm), count)
    lm.save_pretrained(tmp_path / "hf")
    torch.testing.assert_close(_hidden(load_meta(tmp_path / "meta", dtype=torch.float32)), want)
    torch.testing.assert_close(_hidden(load_hf(tmp_path / "hf", dtype=torch.float32)), want)


def test_grouped_heads_and_vocabulary_split_shards(tmp_path):
    params = {**PARAMS, "n_kv_heads": 2, "rope_theta": 500000.0}
    lm = _lm(n_kv_heads=2, rope_theta=500000.0)
    _write_shards(tmp_path / "meta", _meta_state(lm), 2, params=params, vocab_split=True)
    torch.testing.assert_close(_hidden(load_meta(tmp_path / "meta", dtype=torch.float32)), _hidden(lm))


def test_incomplete_meta_weights_are_listed(tmp_path):
    state = _meta_state(_lm())
    del state["layers.1.feed_forward.w2.weight"]
    state["layers.7.attention.wq.weight"] = torch.zeros(2, 2)
    state["norm.weight"] = torch.zeros(3)
    _write_shards(tmp_path / "meta", state, 1)
    with pytest.raises(CheckpointError) as error:
        load_meta(tmp_path / "meta", dtype=torch.float32)
    for line in (
        "missing: layers.1.feed_forward.w2.weight",
        "surplus: layers.7.attention.wq.weight",
        "shape of norm.weight: file (3,), model (32,)",
    ):
        assert line in str(error.value)


def test_incomplete_hugging_face_weights_are_listed(tmp_path):
    from safetensors.torch import load_file, save_file

    _lm().save_pretrained(tmp_path / "hf")
    path = tmp_path / "hf" / "model.safetensors"
    state = load_file(path)
    del state["model.layers.0.mlp.up_proj.weight"]
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="up_proj"):
        load_hf(tmp_path / "hf", dtype=torch.float32)


def test_an_empty_folder_says_what_it_should_hold(tmp_path):
    with pytest.raises(CheckpointError, match="params.json"):
        load_meta(tmp_path, dtype=torch.float32)
    (tmp_path / "params.json").write_text(json.dumps(PARAMS))
    with pytest.raises(CheckpointError, match="format: hf"):
        load_meta(tmp_path, dtype=torch.float32)


def test_half_file_loads_in_the_asked_precision(tmp_path):
    _lm().half().save_pretrained(tmp_path / "hf")
    assert load_hf(tmp_path / "hf", dtype=torch.float32).lm_head.weight.dtype == torch.float32


def _other_lm(name):
    from transformers import AutoModelForCausalLM, MistralConfig, Qwen2Config

    shape = {
        "vocab_size": VOCAB,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config({"qwen2": Qwen2Config, "mistral": MistralConfig}[name](**shape))


def _prompts(llm, start):
    torch.manual_seed(1)
    adapter = VideoPrompts(
        dim=llm.dim,
        num_heads=llm.num_heads,
        num_layers=len(llm.body.layers),
        num_prompted=len(llm.body.layers),
        prompt_length=3,
        num_frames=2,
        visual_dim=4,
        video_bias=1.0,
    )
    for layer in adapter.layers:
        torch.nn.init.constant_(layer.attention["gate1"], 0.7)
    return adapter.prompts(dtype=llm.dtype, video_start_R=start)


@pytest.mark.parametrize("name", ["qwen2", "mistral"])
def test_prompts_reach_other_language_models(name):
    lm = _other_lm(name)
    ids = torch.arange(16).view(2, 8)
    fast, exact = FrozenCausalLM(lm), None
    start = torch.tensor([3, -1])
    with torch.no_grad():
        plain = fast(fast.embed(ids))
        got = fast(fast.embed(ids), prompts=_prompts(fast, start))
        exact = FrozenCausalLM(lm, exact=True)
        want = exact(exact.embed(ids), prompts=_prompts(exact, start))
    assert (got - plain).abs().max() > 1e-3
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_cached_decoding_equals_the_full_forward():
    llm = FrozenCausalLM(_lm())
    ids = torch.arange(20).view(2, 10)
    prompts = _prompts(llm, torch.tensor([2, 3]))
    with torch.no_grad():
        full = llm(llm.embed(ids), prompts=prompts)
        cache, steps = None, []
        for t in range(ids.shape[1]):
            out = llm.body(input_ids=ids[:, t : t + 1], past_key_values=cache, use_cache=True, prompts=prompts)
            cache = out.past_key_values
            steps.append(out.last_hidden_state)
    torch.testing.assert_close(torch.cat(steps, dim=1), full, rtol=1e-4, atol=1e-5)


def test_greedy_decoding_equals_a_run_over_everything_for_each_token():
    llm = FrozenCausalLM(_lm())
    ids = torch.arange(20).view(2, 10)
    prompts = _prompts(llm, torch.tensor([2, 3]))
    tokens, logits = greedy(llm, llm.embed(ids), prompts=prompts, steps=5, banned=(1,))
    with torch.no_grad():
        whole = llm.logits(llm(llm.embed(torch.cat([ids, tokens[:, :-1]], dim=1)), prompts=prompts)[:, 9:])
    torch.testing.assert_close(logits, whole, rtol=1e-4, atol=1e-5)
    assert prompts.keys_values is None, "a later pass may have other weights"


def test_rows_longer_than_a_sliding_window_are_refused():
    lm = _other_lm("mistral")
    lm.config.sliding_window = 4
    llm = FrozenCausalLM(lm)
    with pytest.raises(Exception, match="sliding window of 4"):
        llm(llm.embed(torch.zeros(1, 6, dtype=torch.long)))
