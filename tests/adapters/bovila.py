"""Reference cases of BoViLA and Flipped-VQA as calls of the package: one function per kind, `case -> {name: value}`.

Adapters rename, cast, index and call; tests/test_adapters_compute_nothing.py holds that line.
"""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from adapters import bovila_data, bovila_models
from refcases.case import Case
from torch import Tensor

from vidalign.backbones.llm import FrozenCausalLM
from vidalign.backbones.meta_llama import (
    build_llama,
    join_pairs,
    llama_config,
    load_meta_state,
    merge_shards,
    meta_name,
    params_of_weights,
    read_params,
    read_shards,
    split_dim,
    split_halves,
    to_meta,
)
from vidalign.backbones.option_scores import mean_token_loss
from vidalign.backbones.prompt_attention import Prompts
from vidalign.backbones.video_lm import VideoLM
from vidalign.backbones.video_prompts import VideoPrompts
from vidalign.checkpoint.fit import misfits
from vidalign.config.schema import OptimizerConfig
from vidalign.media.sampling import uniform_floor, zero_rows
from vidalign.models.bovila import evidential
from vidalign.models.bovila.config import BoViLAConfig
from vidalign.models.bovila.model import BoViLA, bias_start
from vidalign.models.bovila.self_questioning import sample_embeddings, sample_onehot
from vidalign.runners.optim import count_parameters, learning_rate, samples_per_step
from vidalign.runners.schedules import updates, warmup_cosine
from vidalign.scoring.official_llama_vqa import METERS, OfficialMeters, predictions, result_rows


def one_layer(case: Case) -> FrozenCausalLM:
    """An LM of one layer with the case's weights; its token table and head are not used."""
    dims = case.json["dims"]
    norm = torch.full((dims["dim"],), 1.0)
    state = {f"layers.0.{name}": value for name, value in case.params.items() if "gate" not in name}
    state |= dict.fromkeys(("tok_embeddings.weight", "output.weight"), torch.zeros(3, dims["dim"]))
    sizes = params_of_weights(dims | {"n_layers": 1}, state)
    lm = build_llama(llama_config(sizes, vocab_size=3), dtype=norm.dtype)
    load_meta_state(lm, state | {"norm.weight": norm}, where=case.label, dtype=norm.dtype)
    return FrozenCausalLM(lm)


def run_block(case: Case) -> dict[str, Any]:
    """One layer with or without prompts, and its two parts called on the input itself.

    Gradients are of sum(block * in/w), that is with in/w as the block's own gradient.
    """
    llm = one_layer(case)
    layer = llm.body.layers[0].requires_grad_(True)
    x = case.tensor("in/x").requires_grad_()
    inputs, prompts = {"in/x": x}, None
    if "in/adapter" in case.names:
        inputs |= {name: value.clone().requires_grad_() for name, value in case.params.items() if "gate" in name}
        inputs["in/adapter"] = case.tensor("in/adapter").requires_grad_()
        prompts = block_prompts(case, inputs)
    block = llm.block(0, x, prompts=prompts)
    attention, _ = layer.self_attn(
        hidden_states=x, position_embeddings=llm.rotary_table(x.shape[1]), attention_mask=None, prompts=prompts
    )
    head_dim = llm.lm.config.head_dim
    weights = {meta_name(f"model.layers.0.{name}"): value for name, value in layer.named_parameters()}
    named = inputs | weights
    grads = torch.autograd.grad(block, list(named.values()), case.tensor("in/w"), allow_unused=True)
    found = {name: grad for name, grad in zip(named, grads, strict=True) if grad is not None}
    result = {}
    for name, grad in found.items():
        turned = to_meta(name, grad, head_dim=head_dim) if name in weights else grad
        result[f"grad/{name.removeprefix('layers.0.')}"] = turned
    return result | {"out/block": block, "out/attention": attention, "out/feed_forward": layer.mlp(x)}


def block_prompts(case: Case, inputs: dict[str, Tensor]) -> Prompts:
    """The prompt and gates of the one layer; whether there is a video bias is the package's decision."""
    start = case.json["video_start"]
    rows = torch.full(inputs["in/x"].shape[:1], -1 if start is None else start)
    gates = [value for name, value in inputs.items() if name.endswith(("gate", "gate1"))]
    video_gates = [value for name, value in inputs.items() if name.endswith("gate2")]
    return Prompts(
        prompt_LAD=inputs["in/adapter"],
        gates=gates,
        video_gates=video_gates or None,
        video_start_B=bias_start(rows) if video_gates else None,
        num_frames=case.json["dims"]["max_feats"],
    )


def run_edl_functions(case: Case) -> dict[str, Any]:
    """Evidential terms; gradients are of mean(mse) + 0.01 * mean(reg), as the case's notes say."""
    evidence, q = (case.tensor(f"in/{name}").requires_grad_() for name in ("evidence", "q"))
    label = case.tensor("in/label").long()
    terms = evidential.answer_terms(evidence, q, label)
    grads = torch.autograd.grad(terms, [evidence, q], [torch.tensor(1.0), torch.tensor(0.01)])
    return {
        "out/mse": evidential.squared_error(evidence, q, label),
        "out/u": evidential.uncertainty(q),
        "out/reg_matrix": evidential.regularizer_matrix(evidence, q, label),
        "out/reg_mean": terms[1],
        "grad/in/evidence": grads[0],
        "grad/in/q": grads[1],
    }


def run_gumbel(case: Case) -> dict[str, Any]:
    """Sampled question embeddings with given noise; the gradient is of sum(embeddings * in/w)."""
    logits, noise = case.tensor("in/logits").requires_grad_(), case.tensor("in/gumbel")
    embeddings = sample_embeddings(logits, noise, case.tensor("in/tok_embeddings"))
    [grad] = torch.autograd.grad(embeddings, [logits], case.tensor("in/w"))
    return {
        "out/onehot": sample_onehot(logits, noise),
        "out/embeddings": embeddings,
        "grad/in/logits": grad,
    }


def run_rope_rmsnorm(case: Case) -> dict[str, Any]:
    """The LM's own rotary table, rotation and norm. Meta rotates adjacent pairs, Hugging Face halves."""
    query, key, weight = case.tensor("in/q"), case.tensor("in/k"), case.tensor("param/norm.weight")
    table = case.tensor("out/freqs_real")  # only its shape is used: how many rows are asked for
    head_dim, heads = query.shape[-1], query.shape[2]
    cos, sin = (t[0, :, : table.shape[1]] for t in bare_llm(case, query[0, 0].numel(), heads).rotary_table(len(table)))
    swapped = (split_halves(x.movedim(-1, 0), head_dim).movedim(0, -1) for x in (query, key))
    rotated = bare_llm(case, query[0, 0].numel(), heads).rotate(*swapped)
    back = [join_pairs(x.movedim(-1, 0), head_dim).movedim(0, -1) for x in rotated]
    norm = bare_llm(case, len(weight), 1).body.norm
    norm.load_state_dict({"weight": weight})
    return {
        "out/freqs_real": cos,
        "out/freqs_imag": sin,
        "out/q": back[0],
        "out/k": back[1],
        "out/norm": norm(case.tensor("in/x")),
    }


def bare_llm(case: Case, dim: int, heads: int) -> FrozenCausalLM:
    """An LM without layers: what is left are the rotary table and the final norm."""
    sizes = {"dim": dim, "n_heads": heads, "n_layers": 0, "norm_eps": case.json["eps"]}
    return FrozenCausalLM(build_llama(llama_config(sizes, vocab_size=3), dtype=torch.float32))


def run_merge_shards(case: Case) -> dict[str, Any]:
    """Shards written as files, read and merged as from disk, held against the names that the model wants."""
    params = case.json["params_json"]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "params.json").write_text(json.dumps(params))
        stems = sorted({name.split("/")[1] for name in case.names if name.startswith("in/shard")})
        for stem in stems:
            number = int(stem.removeprefix("shard"))
            torch.save(case.group(f"in/{stem}"), Path(folder) / f"consolidated.{number:02}.pth")
        merged = merge_shards(read_shards(Path(folder)), dim=read_params(Path(folder))["dim"])
    head = next(merged[name] for name in ("output.weight", "tok_embeddings.weight") if name in merged)
    lm = build_llama(llama_config(params, vocab_size=len(head)), dtype=head.dtype)
    base = {meta_name(name): value for name, value in lm.state_dict().items()}
    # Sizes that the case does not tell are those of all other cases: 3 prompts, 4 frames, features of width 768.
    stated = params | case.json.get("args", {}) | case.json.get("dims", {})
    adapter = VideoPrompts(
        dim=params["dim"],
        num_heads=params["n_heads"],
        num_layers=params["n_layers"],
        num_prompted=params["n_layers"],
        prompt_length=stated.get("adapter_len", 3),
        num_frames=stated.get("max_feats", 4),
        visual_dim=stated.get("visual_dim", 768),
        video_bias=0.0,
    )
    model = BoViLA(VideoLM(FrozenCausalLM(lm), adapter), BoViLAConfig())
    wanted = {name: tuple(value.shape) for name, value in (base | model.export_state()).items()}
    problems = misfits(wanted, merged)
    head_dim = lm.config.head_dim
    missing = [line.removeprefix("missing: ") for line in problems if line.startswith("missing: ")]
    surplus = [line.removeprefix("surplus: ") for line in problems if line.startswith("surplus: ")]
    known = {name: value for name, value in merged.items() if name in base}
    if known.keys() == base.keys():
        load_meta_state(lm, known, where=case.label, dtype=head.dtype)
        loaded = {meta_name(name): value for name, value in lm.state_dict().items()}
        known = {name: to_meta(name, value, head_dim=head_dim) for name, value in loaded.items()}
    return {f"out/{name}": value for name, value in (merged | known).items()} | {
        "json:missing_keys": missing,
        "json:unexpected_keys": surplus,
        "json:trainable": [name for name, _ in adapter.named_parameters()],
        "json:trainable_param_count": count_parameters(adapter.parameters()),
        "json:split_dim": {name: split_dim(name) for name in case.json["split_dim"]},
    }


def run_lr_schedule_and_frames(case: Case) -> dict[str, Any]:
    """Learning rate at each update, and frame indices."""
    result: dict[str, Any] = {}
    for number, row in enumerate(case.json["lr"]):
        samples = samples_per_step(
            batch_size_per_gpu=row["batch_size"], accumulate=row["accum_iter"], world_size=row["world_size"]
        )
        peak = learning_rate(OptimizerConfig(base_lr=row["blr"]), samples_per_step=samples)
        lr_at = partial(
            warmup_cosine,
            peak=peak,
            min_lr=row["min_lr"],
            warmup_epochs=row["warmup_epochs"],
            epochs=row["epochs"],
        )
        result[f"json:lr/{number}/lr"] = peak
        result[f"json:lr/{number}/schedule"] = updates(
            lr_at, epochs=row["epochs"], iterations_per_epoch=row["iters_per_epoch"], accumulate=row["accum_iter"]
        )
    for number, row in enumerate(case.json["frames"]):
        result[f"json:frames/{number}/index"] = uniform_floor(row["n_frames"], row["max_feats"])
        result[f"json:frames/{number}/zero_rows"] = zero_rows(row["n_frames"], row["max_feats"])
    return result


def run_eval_loop(case: Case) -> dict[str, Any]:
    """Meters and result rows from given scores."""
    stats = case.json["stats"]
    dataset = next((name for name, types in METERS.items() if types.keys() <= stats.keys()), "")
    meters, result = OfficialMeters(dataset), {}
    columns: dict[str, list[Any]] = {"predicted": [], "answers": [], "qtypes": [], "uncertainty": []}
    for number, _ in enumerate(case.json["vid"]):
        batch = case.group(f"in/batch{number}")
        chosen = predictions(mean_token_loss(batch["token_ce"]))
        result[f"out/batch{number}/prediction"] = chosen
        meters.update(chosen, batch["answer"], batch["qtype"])
        columns["predicted"].extend(chosen.tolist())
        columns["answers"].extend(batch["answer"].tolist())
        columns["qtypes"].extend(batch["qtype"].tolist())
        columns["uncertainty"].extend(batch["u"][range(len(chosen)), chosen].tolist())
    videos = [name for names in case.json["vid"] for name in names]
    questions = [number for numbers in case.json["qid"] for number in numbers]
    rows = result_rows(videos=videos, question_ids=questions, **columns)
    # The rate is that of the stub optimizer the loop was given; evaluation only passes it on.
    rate = {name: value for name, value in stats.items() if name == "lr"}
    return result | {"json:stats": rate | meters.averages(), "json:result_json": rows}


KINDS = {
    "block": run_block,
    "dataset": bovila_data.run_dataset,
    "edl_functions": run_edl_functions,
    "end_to_end": bovila_data.run_end_to_end,
    "eval_loop": run_eval_loop,
    "flipped_dataset": bovila_data.run_flipped_dataset,
    "flipped_infer": bovila_models.run_flipped_infer,
    "flipped_train": bovila_models.run_flipped_train,
    "gumbel_question_embeddings": run_gumbel,
    "infer": bovila_models.run_infer,
    "llama3_infer": bovila_models.run_infer,
    "llama3_train": bovila_models.run_train,
    "lr_schedule_and_frames": run_lr_schedule_and_frames,
    "merge_shards": run_merge_shards,
    "rope_rmsnorm": run_rope_rmsnorm,
    "train": bovila_models.run_train,
    "train_loop": bovila_models.run_train_loop,
}
