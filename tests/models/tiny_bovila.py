"""A tiny BoViLA or LLaMA-VQA with loud prompts, and random batches of realistic layout, shared by the model tests."""

from __future__ import annotations

import copy

import torch

from vidalign.backbones.video_lm_config import AdapterConfig, LLMConfig
from vidalign.models.bovila.config import (
    BoViLAConfig,
    BoViLALosses,
    LlamaVQAConfig,
    LlamaVQALosses,
)
from vidalign.models.bovila.llama_vqa import LlamaVQA
from vidalign.models.bovila.model import BoViLA

FRAMES, VISUAL_DIM, MAX_SEQ_LEN, VIDEO_START = 5, 12, 48, 6


def bovila(*, attention="fast", video_bias=2.0, dtype="float32", **losses) -> BoViLA:
    losses = {"vaq": 0.5, "aqa": 0.25, "uncertainty_gate": True, **losses}
    config = BoViLAConfig(
        losses=BoViLALosses(**losses, exact=attention == "exact"), **_shared(attention, video_bias, dtype)
    )
    return loud(BoViLA.from_config(config))


def llama_vqa(*, attention="fast", video_bias=2.0, dtype="float32", **losses) -> LlamaVQA:
    config = LlamaVQAConfig(losses=LlamaVQALosses(**losses), **_shared(attention, video_bias, dtype))
    return loud(LlamaVQA.from_config(config))


def twin(model, attention: str):
    """The same weights with the other attention."""
    config = copy.deepcopy(model.config)
    config.llm.attention = attention
    other = type(model).from_config(config)
    other.video_lm.llm.lm.load_state_dict(model.video_lm.llm.lm.state_dict())
    other.load_state(model.export_state())
    return other


def batch(*, size=3, options=4, seed=0, streams=("vqa", "vaq", "qav")) -> dict:
    """Random ids; options differ in the letter only; rows of different lengths, padded to MAX_SEQ_LEN."""
    g = torch.Generator().manual_seed(seed)
    out = {"uid": [f"t/{b}" for b in range(size)], "noise_seed": torch.arange(100, 100 + size)}
    out["video"] = torch.randn(size, FRAMES, VISUAL_DIM, generator=g)
    question = torch.randint(4, 8, (size,), generator=g)
    length = torch.randint(30, MAX_SEQ_LEN - 2, (size,), generator=g)
    for name in streams:
        rows = options if name == "vqa" else 1
        ids = torch.zeros(size, rows, MAX_SEQ_LEN, dtype=torch.long)
        labels = torch.full_like(ids, -1 if name == "qav" else 0)
        start = torch.full((size,), VIDEO_START)
        for b in range(size):
            n = int(length[b])
            ids[b, :, :n] = torch.randint(3, 200, (n,), generator=g)
            if name == "qav":
                start[b] = n - FRAMES - 1
                labels[b, :, start[b] : start[b] + FRAMES] = torch.arange(FRAMES)
                continue
            if name == "vqa":
                ids[b, :, n - 3] = torch.arange(300, 300 + rows)
            span = slice(n - (4 if name == "vqa" else int(question[b])), n)
            labels[b, :, span] = ids[b, :, span]
        out[name] = {
            "ids": ids,
            "labels": labels,
            "lengths": length[:, None].expand(-1, rows).clone(),
            "video_start": start,
        }
    out["vaq_prefix"], out["question_len"] = length - question, question
    out["question_start"] = torch.full((size,), VIDEO_START + FRAMES + 3)
    return out


def without_labels(values: dict, *options: tuple[int, ...], stream="vqa") -> dict:
    """The batch with nothing supervised at these places (question, or question and option), as after `overflow`."""
    labels = values[stream]["labels"].clone()
    for place in options:
        labels[place] = 0
    return {**values, stream: {**values[stream], "labels": labels}}


def parted_early(values: dict, *, stream="vqa") -> dict:
    """The batch with options that differ before the video already."""
    ids = values[stream]["ids"].clone()
    ids[:, :, 2] = torch.arange(400, 400 + ids.shape[1])
    return {**values, stream: {**values[stream], "ids": ids}}


def first_option(values: dict) -> dict:
    """The training form of a batch: one row per sample."""
    rows = {
        name: {key: value[:, :1] if value.ndim > 1 else value for key, value in values[name].items()}
        for name in ("vqa", "vaq", "qav")
        if name in values
    }
    return {**values, **rows}


def _shared(attention: str, video_bias: float | None, dtype: str) -> dict:
    return {
        "size": "tiny",
        "llm": LLMConfig(format="random", dtype=dtype, attention=attention),
        "adapter": AdapterConfig(length=3, video_bias=video_bias),
        "num_frames": FRAMES,
        "visual_dim": VISUAL_DIM,
        "max_seq_len": MAX_SEQ_LEN,
    }


def loud(model):
    """Gates away from 0, so that a missing prompt or bias shows; weights large enough that attention is not uniform."""
    g = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for layer in model.video_lm.adapter.layers:
            for gate in layer.attention.values():
                gate.copy_(torch.randn(gate.shape, generator=g))
        for parameter in model.video_lm.llm.parameters():
            if parameter.ndim == 2:
                parameter.copy_(torch.randn(parameter.shape, generator=g) * parameter.shape[1] ** -0.5)
    return model
