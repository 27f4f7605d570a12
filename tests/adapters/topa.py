"""Reference cases of TOPA as calls of the package: one function per kind, `case -> {name: value}`.

Adapters rename, cast, index and call; tests/test_adapters_compute_nothing.py holds that line.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from adapters import topa_captions, topa_data, topa_models, topa_sets
from refcases.case import Case
from refcases.objectives import mean_square
from torch import Tensor

from vidalign.backbones.llm import FrozenCausalLM
from vidalign.backbones.meta_llama import (
    build_llama,
    llama_config,
    load_meta_state,
    merge_shards,
    meta_name,
    params_of_weights,
    read_shards,
    to_meta,
)
from vidalign.backbones.option_scores import mean_token_loss
from vidalign.backbones.prompt_attention import Prompts
from vidalign.backbones.video_lm import VideoLM
from vidalign.backbones.video_prompts import VideoPrompts
from vidalign.config.schema import OptimizerConfig
from vidalign.media.sampling import bounded_segments, stride_floor, uniform_floor, zero_rows
from vidalign.media.text_frames import fuse_captions
from vidalign.models.topa.captioning import DEMOS, caption_of, question_block
from vidalign.models.topa.config import TOPAConfig
from vidalign.models.topa.keys import official_checkpoint
from vidalign.models.topa.model import TOPA
from vidalign.models.topa.text_prealign import add_noise
from vidalign.runners.optim import build_optimizer, set_rate, trained_parameters
from vidalign.runners.schedules import warmup_cosine
from vidalign.scoring.mvbench import loosely_right, true_option
from vidalign.scoring.official_llama_vqa import OfficialMeters, predictions
from vidalign.text.prompt_texts import letter


def run_block(case: Case) -> dict[str, Any]:
    """One layer with video bias, with prompts only, and plain. Gradients are of mean(with_video ** 2)."""
    weights = {name: value.float() for name, value in case.params.items()}
    gates = {name: value.requires_grad_() for name, value in weights.items() if "gate" in name}
    llm = one_layer(case, weights)
    x = case.tensor("in/x").requires_grad_()
    start = torch.full(x.shape[:1], case.json["video_start"])
    prompts = Prompts(
        prompt_LAD=case.tensor("in/adapter"),
        gates=[gates["attention.gate1"]],
        video_gates=[gates["attention.gate2"]],
        video_start_B=start,
        num_frames=case.json["max_feats"],
    )
    no_video = Prompts(prompts.prompt_LAD, prompts.gates, prompts.video_gates, None, prompts.num_frames)
    with_video = llm.block(0, x, prompts=prompts)
    inputs = {**gates, "x": x}
    grads = torch.autograd.grad(mean_square(with_video), list(inputs.values()))
    return {f"grad/{name}": grad for name, grad in zip(inputs, grads, strict=True)} | {
        "out/with_video": with_video,
        "out/adapter_no_video": llm.block(0, x, prompts=no_video),
        "out/no_adapter": llm.block(0, x),
        "out/attn_norm": llm.body.layers[0].input_layernorm(x),
    }


def one_layer(case: Case, weights: dict[str, Tensor]) -> FrozenCausalLM:
    """An LM of one layer with the case's weights; its token table and head are not used."""
    dims = case.json["params_json"]
    state = {f"layers.0.{name}": value for name, value in weights.items() if "gate" not in name}
    state |= dict.fromkeys(("tok_embeddings.weight", "output.weight"), torch.zeros(3, dims["dim"]))
    state["norm.weight"] = torch.full((dims["dim"],), 1.0)
    sizes = params_of_weights(dims | {"n_layers": 1}, state)
    lm = build_llama(llama_config(sizes, vocab_size=3), dtype=torch.float32)
    load_meta_state(lm, state, where=case.label, dtype=torch.float32)
    return FrozenCausalLM(lm)


def run_rope_tables(case: Case) -> dict[str, Any]:
    """Rotary tables at construction, and with the base that the official code falls back to."""
    result: dict[str, Any] = {}
    for name, dims in case.json["params_json"].items():
        for stage, official in (("init", False), ("reinit", True)):
            config = llama_config(dims | {"n_layers": 0}, vocab_size=3, official_rope=official)
            llm = FrozenCausalLM(build_llama(config, dtype=torch.float32))
            rows = case.tensor(f"out/{name}.{stage}.cos")  # only its shape is used: how many rows are shown
            cos, sin = (table[0, :, : rows.shape[1]] for table in llm.rotary_table(len(rows)))
            # The package makes tables of any length; the official one has a fixed length.
            length = case.tensor(f"out/{name}.{stage}.len")
            result |= {f"out/{name}.{stage}.cos": cos, f"out/{name}.{stage}.sin": sin}
            result[f"out/{name}.{stage}.len"] = len(llm.rotary_table(int(length))[0][0])
    return result


def run_noise_and_fusion(case: Case) -> dict[str, Any]:
    """The noise function with its draws given, fusion of captions, frame sampling."""
    result: dict[str, Any] = {}
    for number, variance in enumerate(case.json["variances"]):
        offset = case.json["offset"][number]
        result[f"out/y.{number}"] = add_noise(
            case.tensor("in/x"),
            variance=variance,
            draws=(case.tensor(f"in/randn1.{number}"), case.tensor(f"in/randn2.{number}")),
            offset=None if offset is None else case.tensor(offset),
            normalize=not case.json["dont_norm"][number],
        )
    fused = fuse_captions(case.tensor("in/frame_features"), case.json["keys_per_frame"])
    sampled = fused[uniform_floor(len(fused), case.json["max_feats"])]
    padding = torch.zeros(zero_rows(len(sampled), case.json["max_feats"]), fused.shape[1])
    return result | {"out/frame_fused": fused, "out/frame_sampled": torch.cat([sampled, padding])}


def run_merge_shards(case: Case) -> dict[str, Any]:
    """Shards written as files, read and merged; what trains, its optimizer group, and the saved file."""
    params, args = case.json["params_json"], case.json["args"]
    dtype = torch.bfloat16 if args["llama2"] else torch.float32
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "params.json").write_text(json.dumps(params))
        for number in range(case.json["shards"]):
            part = f"in/shard{number}."
            shard = {name.removeprefix(part): case.tensor(name) for name in case.names if name.startswith(part)}
            torch.save(shard, Path(folder) / f"consolidated.{number:02}.pth")
        merged = merge_shards(read_shards(Path(folder)), dim=params["dim"])
    # The case shows one layer of the file.
    shown = [name for name in merged if name.startswith("layers.0.")]
    copies = {
        name.replace("layers.0.", f"layers.{layer}."): merged[name]
        for layer in range(params["n_layers"])
        for name in shown
    }
    table = merged["tok_embeddings.weight"]
    sizes = params_of_weights(params, merged)
    lm = build_llama(llama_config(sizes, vocab_size=len(table)), dtype=dtype)
    load_meta_state(lm, merged | copies, where=case.label, dtype=dtype)
    head_dim = lm.config.head_dim
    loaded = {meta_name(name): value for name, value in lm.state_dict().items()}
    loaded = {name: to_meta(name, value, head_dim=head_dim) for name, value in loaded.items()}
    adapter = VideoPrompts(
        dim=params["dim"],
        num_heads=params["n_heads"],
        num_layers=params["n_layers"],
        num_prompted=args["adapter_layer"],
        prompt_length=args["adapter_len"],
        num_frames=args["max_feats"],
        visual_dim=768,
        video_bias=args["bias"],
    )
    model = TOPA(VideoLM(FrozenCausalLM(lm), adapter), TOPAConfig())
    result = {f"out/{name}": value for name, value in loaded.items()}
    return result | described(case, model, loaded)


def described(case: Case, model: TOPA, base: dict[str, Tensor]) -> dict[str, Any]:
    """Names, types, optimizer groups and the saved file, as the case lists them."""
    state = model.export_state()
    groups = case.json["optimizer_groups"]
    trained = trained_parameters(model)
    names = {name.removeprefix("video_lm.adapter."): value for name, value in trained.items()}
    optimizer = build_optimizer(names, OptimizerConfig(weight_decay=groups[0]["weight_decay"]), lr=0.1)
    stored = optimizer.state_dict()
    file = official_checkpoint(state, optimizer=stored, epoch=case.json["saved_checkpoint"]["epoch"])
    known = base | state
    return {
        "json:trainable": list(names),
        "json:dtypes": {name: str(known[name].dtype) for name in case.json["dtypes"]},
        "json:optimizer_groups": [
            {"weight_decay": group["weight_decay"], "names": group["param_names"]} for group in stored["param_groups"]
        ],
        "json:saved_checkpoint/keys": list(file),
        "json:saved_checkpoint/epoch": file["epoch"],
        "json:saved_checkpoint/model": {
            name: [list(value.shape), str(value.dtype), "Parameter"] for name, value in file["model"].items()
        },
    }


def run_small_functions(case: Case) -> dict[str, Any]:
    """Rates of two groups, scores and predictions, accuracies by type, frames, MVBench's rules, captions."""
    result: dict[str, Any] = {}
    for number, grid in enumerate(case.json["lr_grid"]):
        weights = {name: torch.zeros(1).requires_grad_() for name in ("plain", "scaled")}
        optimizer = build_optimizer({"plain": weights["plain"]}, OptimizerConfig(), lr=grid["lr"])
        optimizer.add_param_group({"params": [("scaled", weights["scaled"])], "lr_scale": 0.5})
        rates = []
        for position in case.tensor(f"in/epoch.{number}").tolist():
            rest = {name: value for name, value in grid.items() if name != "lr"}
            set_rate(optimizer, warmup_cosine(position, peak=grid["lr"], **rest))
            rates.append([group["lr"] for group in optimizer.param_groups])
        result[f"out/lr.{number}"] = torch.tensor(rates, dtype=torch.float64)
    scores = mean_token_loss(case.tensor("in/nll"))
    result |= {"out/score": scores, "out/prediction": predictions(scores)}
    for dataset in case.json["metric_expected"]:
        meters = OfficialMeters(dataset)
        correct, types = case.tensor(f"in/{dataset}.correct"), case.tensor(f"in/{dataset}.qtype")
        for right, kinds in zip(correct, types, strict=True):
            meters.update(right, torch.full(right.shape, True), kinds)
        result[f"json:metric_expected/{dataset}"] = meters.averages()
    return result | frame_lists(case) | answer_texts(case)


def frame_lists(case: Case) -> dict[str, Any]:
    """Every list of frame numbers."""
    result: dict[str, Any] = {}
    for number, row in enumerate(case.json["mvbench_get_index"]):
        result[f"json:mvbench_get_index/{number}/indices"] = bounded_segments(
            row["max_frame"], row["num_segments"], fps=row["fps"], bound=row["bound"], first=row["first_idx"]
        )
    for number, row in enumerate(case.json["caption_frame_ids"]):
        frames = stride_floor(row["total_frames"], 10)
        result[f"json:caption_frame_ids/{number}/frame_ids"] = frames
        result[f"json:caption_frame_ids/{number}/returned"] = len(frames)
    for number, row in enumerate(case.json["feature_frame_indices"]):
        result[f"json:feature_frame_indices/{number}/indices"] = uniform_floor(row["T"], row["max_feats"])
        result[f"json:feature_frame_indices/{number}/padded"] = zero_rows(row["T"], row["max_feats"])
    return result


def answer_texts(case: Case) -> dict[str, Any]:
    """MVBench's questions and answers, and the captions in generated texts."""
    result: dict[str, Any] = {}
    for number, row in enumerate(case.json["mvbench_check_ans"]):
        result[f"json:mvbench_check_ans/{number}/correct"] = loosely_right(row["pred"], row["gt"])
    for number, row in enumerate(case.json["mvbench_qa_template"]):
        data = row["data"]
        index = true_option(data["candidates"], data["answer"])
        truth = f"{letter(index)} {data['candidates'][index]}"
        block = question_block(data["question"], data["candidates"])
        result[f"json:mvbench_qa_template/{number}/out"] = [block, truth]
    for number, row in enumerate(case.json["caption_cleanup"]):
        result[f"json:caption_cleanup/{number}/caption"] = caption_of(row["text"], DEMOS[row["style"]])
    return result


KINDS = {
    "block": run_block,
    "caption_metrics": topa_captions.run_caption_metrics,
    "dataset": topa_sets.run_dataset,
    "dataset_overflow": topa_data.run_dataset_overflow,
    "eval": topa_models.run_eval,
    "generate": topa_models.run_generate,
    "merge_shards": run_merge_shards,
    "noise_and_fusion": run_noise_and_fusion,
    "rope_tables": run_rope_tables,
    "small_functions": run_small_functions,
    "tokenizer": topa_data.run_tokenizer,
    "train": topa_models.run_train,
    "train_loop": topa_models.run_train_loop,
}
