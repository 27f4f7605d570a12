"""Reference cases of whole TOPA models: build them from a case's weights, hand over its batch.

Names are translated and tensors cast and indexed; all numbers come from the package.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from refcases.case import Case
from torch import Tensor

from vidalign.backbones.llm import FrozenCausalLM
from vidalign.backbones.meta_llama import build_llama, llama_config, load_meta_state, params_of_weights
from vidalign.backbones.option_scores import counted_tokens, mean_token_loss
from vidalign.backbones.video_lm import VideoLM
from vidalign.backbones.video_prompts import VideoPrompts
from vidalign.common.output import Output
from vidalign.config.schema import OptimizerConfig
from vidalign.models.topa.config import TOPAConfig, TOPALosses
from vidalign.models.topa.cross_modal import SupportMemory
from vidalign.models.topa.model import TOPA
from vidalign.models.topa.text_prealign import draw_mode
from vidalign.runners.optim import build_optimizer, trained_parameters
from vidalign.runners.progress import LoopSettings
from vidalign.runners.schedules import warmup_cosine
from vidalign.runners.train import train
from vidalign.scoring.official_llama_vqa import predictions
from vidalign.text.tokenizers import load_tokenizer

TRAINED = ("gate", "adapter", "temporal_emb", "visual_proj")
# The official slots, and what the package calls them.
STREAMS = {"vqa": "vqa", "vaq": "caption"}
MODES = {"vqa": "vqa", "caption": "caption"}
TOKENIZERS = {"llama2": "tiny_llama2_tokenizer.model", "llama3": "tiny_llama3_tokenizer.tiktoken"}


def weights(case: Case) -> dict[str, Tensor]:
    """Weights under official names in float32."""
    return {name: value.float() for name, value in case.params.items()}


def compute_dtype(case: Case) -> torch.dtype:
    """Of the frozen weights."""
    half = case.json.get("compute_dtype", "").endswith("bfloat16")
    return torch.bfloat16 if half else torch.float32


def is_runtime_rope(case: Case) -> bool:
    """Whether the case computes after the official re-initialisation of the rotary table."""
    return case.json.get("re_init_freqs") is not None


def video_lm(case: Case, *, exact: bool = False) -> VideoLM:
    """The LM and its prompts at the case's sizes."""
    values, dtype = weights(case), compute_dtype(case)
    base = {name: value for name, value in values.items() if not any(part in name for part in TRAINED)}
    args, dims = case.json["args"], case.json["params_json"]
    sizes = params_of_weights(dims, base)
    table = base["tok_embeddings.weight"]
    config = llama_config(sizes, vocab_size=len(table), official_rope=is_runtime_rope(case))
    lm = build_llama(config, dtype=dtype)
    load_meta_state(lm, base, where=case.label, dtype=dtype)
    adapter = VideoPrompts(
        dim=dims["dim"],
        num_heads=dims["n_heads"],
        num_layers=dims["n_layers"],
        num_prompted=args["adapter_layer"],
        prompt_length=args["adapter_len"],
        num_frames=args["max_feats"],
        visual_dim=values["visual_proj.weight"].shape[1],
        video_bias=args["bias"],
    )
    exact = exact or dtype == torch.bfloat16
    return VideoLM(FrozenCausalLM(lm, exact=exact, keep_last=args["adapter_layer"]), adapter, exact=exact)


@contextmanager
def topa(case: Case, *, exact: bool = False) -> Iterator[TOPA]:
    """TOPA with the case's weights and settings; a memory lies in a file, as a user's does."""
    args = case.json["args"]
    config = TOPAConfig(
        size="from_file",
        num_frames=args["max_feats"],
        max_seq_len=args["max_seq_len"],
        losses=TOPALosses(caption=args["weight_captioning"]),
        select="text" if case.json.get("mode") == "caption" else "letter",
        video_start="first",
        blind=args["onlyqa"],
    )
    with tempfile.TemporaryDirectory() as folder:
        memory = None
        if "in/memory" in case.names and case.json.get("uses_memory", True):
            torch.save(case.tensor("in/memory"), Path(folder) / "memory.pth")
            # Small chunks, so that the running softmax has something to do.
            memory = SupportMemory(Path(folder) / "memory.pth", width=case.tensor("in/memory").shape[1], chunk_rows=16)
        model = TOPA(video_lm(case, exact=exact), config, memory=memory)
        own = {name: value for name, value in weights(case).items() if any(part in name for part in TRAINED)}
        model.load_state(own)
        yield model


def batch_of(case: Case, rows: list[int] | None = None) -> dict[str, Any]:
    """The package's batch, of all samples or of some."""
    tensors = case.group("in")
    rows = list(range(len(tensors["video"]))) if rows is None else rows
    batch: dict[str, Any] = {"uid": [f"{case.label}/{row}" for row in rows], "video": tensors["video"][rows]}
    for official, name in STREAMS.items():
        ids = tensors[f"text_id.{official}"][rows].long()
        batch[name] = {
            "ids": ids,
            "labels": tensors[f"label.{official}"][rows].long(),
            "lengths": torch.full(ids.shape[:2], ids.shape[2]),
            "video_start": tensors[f"video_start.{official}"][rows].long(),
        }
    return batch


def slots(output: Output) -> dict[str, Tensor]:
    """The losses of both slots as the official code reports them: without their weight."""
    return output.losses | {"caption": output.logs.get("caption_unweighted", output.losses["caption"])}


def run_train(case: Case) -> dict[str, Any]:
    """Kind train: losses, gradients; of the exact path (the fast one packs) the residual stream after each layer."""
    batch = batch_of(case) | {"mode": MODES[case.json["mode"]]}
    with topa(case) as model:
        output = model(batch)
    seen: list[Tensor] = []
    with topa(case, exact=True) as exact:
        for layer in exact.video_lm.llm.body.layers:
            layer.register_forward_hook(lambda module, inputs, output: seen.append(output))
        exact(batch)
    names = list(reversed(range(case.json["params_json"]["n_layers"])))
    result = {f"out/h_layer{name}": value for name, value in zip(names, reversed(seen), strict=False)}
    result |= {f"out/{official}_loss": slots(output)[name] for official, name in STREAMS.items()}
    result |= {"out/qav_loss": torch.zeros(()), "out/loss": output.total}
    named = dict(model.video_lm.adapter.named_parameters())
    grads = torch.autograd.grad(output.total, list(named.values()), allow_unused=True)
    return result | {f"grad/{name}": grad for name, grad in zip(named, grads, strict=True) if grad is not None}


def run_eval(case: Case) -> dict[str, Any]:
    """Kind eval."""
    with topa(case) as model:
        batch = batch_of(case)
        token_ce = model.score_options(batch).extras["token_ce"]
        seen = model.video_input(batch["video"])
    scores = mean_token_loss(token_ce)
    return {
        "out/nll": token_ce,
        "out/count": counted_tokens(token_ce),
        "out/score": scores,
        "out/prediction": predictions(scores),
        "out/video_input": seen,
    }


def run_train_loop(case: Case) -> dict[str, Any]:
    """Kind train_loop: the package's loop, optimizer and schedule over single samples, with the recorded draws."""
    args = case.json["args"]
    draws = case.tensor("in/uniform_draws").tolist()
    loader = [{"batch": batch_of(case, [row]), "failures": []} for row in case.tensor("in/order").tolist()]
    config = OptimizerConfig(betas=case.json["betas"], eps=case.json["eps"], weight_decay=args["weight_decay"])
    positions, rates, losses = [], [], []

    def lr_at(position: float) -> float:
        rate = warmup_cosine(
            position,
            peak=args["lr"],
            min_lr=args["min_lr"],
            warmup_epochs=args["warmup_epochs"],
            epochs=args["epochs"],
        )
        positions.append(position)
        rates.append(rate)
        return rate

    share = 0.5 if args["video_caption"] else 0.0
    with topa(case) as model:
        remaining = iter(draws)
        model.register_forward_pre_hook(
            lambda module, given: (given[0] | {"mode": draw_mode(next(remaining), caption_share=share)},)
        )
        model.register_forward_hook(lambda module, given, output: losses.append(slots(output)))
        optimizer = build_optimizer(trained_parameters(model), config, lr=args["lr"])
        settings = LoopSettings(max_epochs=case.json["epochs_run"], accumulate=args["accum_iter"])
        train(model, loader, optimizer, lr_at=lr_at, settings=settings)
    table = [[row["vqa"].item(), row["caption"].item(), 0.0] for row in losses]
    result: dict[str, Any] = {f"out/final.{name}": value for name, value in model.export_state().items()}
    return result | {
        "out/losses": torch.tensor(table),
        "out/lr": torch.tensor(rates, dtype=torch.float64),
        "out/lr_epoch": torch.tensor(positions, dtype=torch.float64),
    }


def run_generate(case: Case) -> dict[str, Any]:
    """Kind generate: greedy decoding of a demo prompt."""
    tokenizer = load_tokenizer(case.file(TOKENIZERS[case.json["llama"]]))
    before = [tokenizer.bos_id, *tokenizer.encode(case.json["prompt"])]
    after = tokenizer.encode(case.json["prompt2"])
    with topa(case) as model:
        made, logits = model.continue_greedily(
            case.tensor("in/video")[None],
            torch.tensor([before]),
            torch.tensor([after]),
            steps=case.json["steps"],
            banned=case.json["banned_ids"],
        )
    tokens = [*before, *after, *made[0].tolist()]
    return {
        "out/tokens": tokens,
        "out/step_logits": logits[0],
        "json:text": tokenizer.decode(tokens),
        "json:prompt_tokens": len(before),
        "json:prompt2_tokens": len(after),
    }
