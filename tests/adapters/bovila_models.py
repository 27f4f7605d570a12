"""Reference cases of whole BoViLA and LLaMA-VQA models: build them from a case's weights, hand over its batch.

Names are translated and tensors cast and indexed; all numbers come from the package.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from refcases.case import Case
from torch import Tensor

from vidalign.backbones.llm import FrozenCausalLM
from vidalign.backbones.meta_llama import build_llama, llama_config, load_meta_state, params_of_weights
from vidalign.backbones.option_scores import mean_token_loss
from vidalign.backbones.video_lm import VideoLM
from vidalign.backbones.video_prompts import VideoPrompts
from vidalign.config.schema import OptimizerConfig
from vidalign.models.bovila.config import BoViLAConfig, BoViLALosses, LlamaVQAConfig, LlamaVQALosses
from vidalign.models.bovila.keys import official_checkpoint
from vidalign.models.bovila.llama_vqa import LlamaVQA
from vidalign.models.bovila.model import BoViLA
from vidalign.models.bovila.plan import passes_of, plan_training
from vidalign.runners.optim import build_optimizer, trained_parameters
from vidalign.runners.progress import LoopSettings, Progress
from vidalign.runners.schedules import warmup_cosine
from vidalign.runners.train import train
from vidalign.scoring.official_llama_vqa import predictions

TRAINED = ("gate", "adapter", "temporal_emb", "visual_proj")
# The two families of cases name the same sizes differently.
SIZE_NAMES = {"max_seq_len": "S", "max_feats": "F", "adapter_len": "A", "bias_flag": "bias"}


def size(case: Case, name: str) -> Any:
    """One of the case's dimensions, under either of its names."""
    dims = case.json["dims"]
    return dims[name] if name in dims else dims[SIZE_NAMES[name]]


def split_params(params: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Official names -> (the frozen LM's, everything else)."""
    own = {name: value for name, value in params.items() if any(part in name for part in (*TRAINED, "scale_proj"))}
    return {name: value for name, value in params.items() if name not in own}, own


def is_half(case: Case) -> bool:
    """Half-precision cases follow the official order of rounding, hence the exact path."""
    return case.params["tok_embeddings.weight"].dtype != torch.float32


def video_lm(case: Case, *, exact: bool) -> VideoLM:
    """The LM and its prompts at the case's sizes; the trained part still holds its initial values."""
    base, own = split_params(case.params)
    table = base["tok_embeddings.weight"]
    sizes = params_of_weights(case.json["dims"], base)
    lm = build_llama(llama_config(sizes, vocab_size=len(table), official_rope=True), dtype=table.dtype)
    load_meta_state(lm, base, where=case.label, dtype=table.dtype)
    layers = case.json["dims"]["n_layers"]
    prompted = case.json.get("adapter_layer", layers)
    adapter = VideoPrompts(
        dim=len(own["visual_proj.weight"]),
        num_heads=case.json["dims"]["n_heads"],
        num_layers=layers,
        num_prompted=prompted,
        prompt_length=size(case, "adapter_len"),
        num_frames=size(case, "max_feats"),
        visual_dim=own["visual_proj.weight"].shape[1],
        video_bias=size(case, "bias_flag") if "layers.0.attention.gate2" in own else None,
    )
    return VideoLM(FrozenCausalLM(lm, exact=exact, keep_last=prompted), adapter, exact=exact)


def bovila(case: Case, *, exact: bool) -> BoViLA:
    """BoViLA with the case's weights and loss settings."""
    args = case.json["args"]
    losses = BoViLALosses(
        answer="evidential" if args["edl_mse"] else "ce",
        evidential=args["edl_mse"],
        regularizer=args["edl_reg"],
        vaq=args["vaq"],
        aqa=args["aqa"],
        uncertainty_gate=args["aqa_gate"],
        exact=is_half(case),
    )
    config = BoViLAConfig(
        size="from_file",
        losses=losses,
        num_frames=size(case, "max_feats"),
        max_seq_len=size(case, "max_seq_len"),
    )
    model = BoViLA(video_lm(case, exact=exact), config)
    load_own(model, case)
    return model


def llama_vqa(case: Case, *, exact: bool) -> LlamaVQA:
    """LLaMA-VQA with the case's weights and loss settings."""
    args = case.json["args"]
    losses = LlamaVQALosses(vaq=args["vaq"], qav=args["qav"], tau=args["tau"])
    config = LlamaVQAConfig(
        size="from_file",
        losses=losses,
        num_frames=size(case, "max_feats"),
        max_seq_len=size(case, "max_seq_len"),
    )
    model = LlamaVQA(video_lm(case, exact=exact), config)
    load_own(model, case)
    return model


def load_own(model: BoViLA | LlamaVQA, case: Case) -> None:
    """The trained part (and the evidence scale) from the case; a model without evidence has no scale to load."""
    _, own = split_params(case.params)
    wanted = model.export_state()
    model.load_state({name: value for name, value in own.items() if name in wanted})


def batch_of(case: Case, lists: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, Any]:
    """The package's batch from `text_id/vqa`, `label/vqa` ... and the position lists.

    The official code takes the video's place of the first sample for the whole batch, except where the video is to be
    predicted.
    """
    count = len(tensors["video"])
    batch: dict[str, Any] = {"uid": [f"{case.label}/{row}" for row in range(count)], "video": tensors["video"]}
    for stream in ("vqa", "vaq", "qav"):
        if f"text_id/{stream}" not in tensors:
            continue
        ids = tensors[f"text_id/{stream}"].long()
        starts = torch.tensor(lists["video_start"][stream])
        batch[stream] = {
            "ids": ids,
            "labels": tensors[f"label/{stream}"].long(),
            "lengths": torch.full(ids.shape[:2], ids.shape[2]),
            "video_start": starts if stream == "qav" else starts[:1].expand(count),
        }
        if stream != "qav":
            batch[stream]["mask"] = tensors[f"label_mask/{stream}"]
    if "qlen" in lists:
        batch["question_start"] = torch.tensor(lists["question_start"]["vqa"])
        batch["question_len"] = torch.tensor(lists["qlen"]["vqa"])
        batch["vaq_prefix"] = torch.tensor(lists["prefix_index"]["vaq"])
    return batch


@contextmanager
def recorded_hidden(model: BoViLA) -> Iterator[list[Tensor]]:
    """Final hidden states of every pass of the LM, in order."""
    seen: list[Tensor] = []
    handle = model.video_lm.llm.register_forward_hook(lambda module, inputs, output: seen.append(output))
    try:
        yield seen
    finally:
        handle.remove()


def gradients(case: Case, total: Tensor, model: BoViLA | LlamaVQA) -> dict[str, Tensor]:
    """`grad/<official name>` of every trained parameter that takes part."""
    named = dict(model.video_lm.adapter.named_parameters())
    grads = torch.autograd.grad(total, list(named.values()), allow_unused=True)
    return {f"grad/{name}": grad for name, grad in zip(named, grads, strict=True) if grad is not None}


def stored_noise(case: Case) -> Iterator[Tensor]:
    """The Gumbel noise of every question replacement, tried or done, in the order in which it was drawn."""
    return iter(case.numbered("gumbel/"))


def next_noise(noise: Iterator[Tensor], batch: dict[str, Any], model: BoViLA) -> Tensor | None:
    """The noise of the questions that one forward pass replaces, one after the other.

    A question that does not fit has drawn its noise too, and is the last one tried.
    """
    if not model.config.losses.aqa:
        return None
    plan = plan_training(batch, streams=model.streams, max_seq_len=model.config.max_seq_len, questions=True)
    counts = plan["question"]["counts"]
    rows = [next(noise) for _ in counts]
    if len(counts) < len(batch["video"]):
        next(noise, None)
    return torch.cat(rows) if rows else None


def run_train(case: Case) -> dict[str, Any]:
    """Kinds train and llama3_train; logits at all positions are the exact path's, the fast one has only wanted ones."""
    model, exact = bovila(case, exact=is_half(case)), bovila(case, exact=True)
    batch = batch_of(case, case.json["lists"], case.group("in"))
    output = model(batch, next_noise(stored_noise(case), batch, model))
    with recorded_hidden(exact) as hidden:
        exact(batch, next_noise(stored_noise(case), batch, exact))
    result = {f"out/loss/{name}": value for name, value in output.losses.items()}
    result |= {"out/loss/total": output.total} | gradients(case, output.total, model)
    passes = passes_of(exact.streams, questions=exact.config.losses.aqa > 0)
    for name, states in zip([name for names in passes for name in names], hidden, strict=True):
        result[f"out/{name}_logits"] = model.video_lm.llm.logits(states)
    return result


def run_flipped_train(case: Case) -> dict[str, Any]:
    """Kind flipped_train; a loss that is off counts as 0."""
    model = llama_vqa(case, exact=is_half(case))
    output = model(batch_of(case, case.json, case.group("in")))
    off = dict.fromkeys(("out/loss/vqa", "out/loss/vaq", "out/loss/qav"), torch.zeros(()))
    losses = {f"out/loss/{name}": value for name, value in output.losses.items()}
    return off | losses | {"out/loss/total": output.total} | gradients(case, output.total, model)


def option_outputs(fast: Any, exact: Any) -> dict[str, Tensor]:
    """Scores of the fast path, uncertainty of the exact one (where label counts differ, only it follows the official
    zeros). Without an evidence scale the official code reports 0."""
    token_ce = fast.extras["token_ce"]
    scores = mean_token_loss(token_ce)
    chosen = predictions(scores)
    uncertainty = torch.zeros(scores.shape) if exact.uncertainty is None else exact.uncertainty
    return {
        "token_ce": token_ce,
        "score": scores,
        "prediction": chosen,
        "u": uncertainty,
        "u_of_prediction": uncertainty[range(len(chosen)), chosen],
    }


def run_infer(case: Case) -> dict[str, Any]:
    """Kinds infer and llama3_infer."""
    batch = batch_of(case, case.json["lists"], case.group("in"))
    exact = bovila(case, exact=True).score_options(batch)
    fast = exact if is_half(case) else bovila(case, exact=False).score_options(batch)
    return {f"out/{name}": value for name, value in option_outputs(fast, exact).items()}


def run_flipped_infer(case: Case) -> dict[str, Any]:
    """Kind flipped_infer."""
    scores = llama_vqa(case, exact=is_half(case)).score_options(batch_of(case, case.json, case.group("in")))
    return {f"out/{name}": value for name, value in option_outputs(scores, scores).items()}


def run_train_loop(case: Case) -> dict[str, Any]:
    """Kind train_loop: the package's loop, optimizer and schedule over the stored micro-batches."""
    args = case.json["args"]
    model = bovila(case, exact=is_half(case))
    loader = []
    for index, lists in enumerate(case.json["lists"]):
        loader.append({"batch": batch_of(case, lists, case.group(f"in/batch{index}")), "failures": []})
    parameters = trained_parameters(model)
    config = OptimizerConfig(betas=[0.9, 0.95], weight_decay=args["weight_decay"])
    optimizer = build_optimizer(parameters, config, lr=args["lr"])

    def lr_at(position: float) -> float:
        return warmup_cosine(
            position,
            peak=args["lr"],
            min_lr=args["min_lr"],
            warmup_epochs=args["warmup_epochs"],
            epochs=args["epochs"],
        )

    settings = LoopSettings(max_epochs=len(case.json["stats"]), accumulate=args["accum_iter"])
    noise = stored_noise(case)
    model.register_forward_pre_hook(lambda module, given: (*given, next_noise(noise, given[0], module)))
    progress = Progress()
    history = train(model, loader, optimizer, lr_at=lr_at, settings=settings, progress=progress)
    file = official_checkpoint(model.export_state(), optimizer=optimizer.state_dict(), epoch=progress.epoch, args=args)
    result: dict[str, Any] = {f"out/param/{name}": value for name, value in file["model"].items()}
    for index, moments in file["optimizer"]["state"].items():
        result |= {f"out/optim/{index}/{name}": value for name, value in moments.items()}
    result["json:stats"] = [{meter(name): line[name] for name in line if name in METERS} for line in history]
    result["json:checkpoint"] = layout(model, file)
    return result


METERS = ("lr", "loss", "vqa", "edl_mse", "edl_reg", "vaq", "aqa")


def meter(name: str) -> str:
    """The official name of an average: losses end in _loss, the rate and the sum are called as here."""
    return name if name in ("lr", "loss") else f"{name}_loss"


def layout(model: BoViLA, file: dict[str, Any]) -> dict[str, Any]:
    """What the case tells of the checkpoint file."""
    groups = file["optimizer"]["param_groups"]
    named = {id(value): name for name, value in model.video_lm.adapter.named_parameters()}
    order = [named[id(value)] for value in trained_parameters(model).values()]
    return {
        "top_level": list(file),
        "model_keys": {name: list(value.shape) for name, value in file["model"].items()},
        "optimizer_param_groups": groups,
        "optimizer_param_order": [order[index] for group in groups for index in group["params"]],
        "epoch": file["epoch"],
    }
