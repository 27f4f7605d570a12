"""Which positions of a training batch need logits, where sampled questions go, and how rows travel through the LM.

Made on the CPU by the collate, so that a step on a GPU never waits for a data-dependent size.

Shape letters: R rows of a stream (B samples x O options), T positions, N supervised positions, M sampled question
positions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vidalign.backbones.packing import common_head, pack_rows
from vidalign.text.plan import plan_stream


def passes_of(streams: tuple[str, ...], *, questions: bool) -> list[tuple[str, ...]]:
    """Which streams make one pass of the LM. A sampled question must be there before it is answered ("aqa")."""
    return [("vaq",), ("vqa", "aqa")] if questions else [streams]


def plan_training(
    batch: dict[str, Any], *, streams: tuple[str, ...], max_seq_len: int, questions: bool = False
) -> dict[str, Any]:
    """For each stream: rows_N (flat positions whose logits are needed), target_N (the next token, its ignored value
    where none is supervised), masked_N (bool: inside the supervised span), sample_N (row of the batch). With
    `questions` also "question": read_M (indices into the vaq rows_N), write_M (flat positions of the vqa input), counts
    and seeds per sample. "packing": fields of a Packing for each of `passes_of`.
    """
    plan: dict[str, Any] = {}
    extra: dict[str, Tensor | None] = dict.fromkeys(streams)
    if questions:
        plan["question"], extra["vaq"] = _plan_questions(batch, max_seq_len)
    for name in streams:
        plan[name] = plan_stream(batch[name], ignored=-1 if name == "qav" else 0, also=extra[name])
    if questions:
        flat = plan["question"].pop("read_flat")
        plan["question"]["read_M"] = torch.searchsorted(plan["vaq"]["rows_N"], flat)
    # Both answering inputs are the same up to the question.
    shared = int(batch["question_start"][0]) if questions else 0
    plan["packing"] = [
        _pack([("vqa" if name == "aqa" else name) for name in names], batch, plan, shared=shared)
        for names in passes_of(streams, questions=questions)
    ]
    return plan


def _pack(names: list[str], batch: dict[str, Any], plan: dict[str, Any], *, shared: int) -> dict[str, Any]:
    shapes = [batch[name]["ids"].flatten(0, 1).shape for name in names]
    heads = [common_head(batch[name]) for name in names]
    return pack_rows([plan[name]["rows_N"] for name in names], shapes, shared=shared, heads=heads)


def _plan_questions(batch: dict[str, Any], max_seq_len: int) -> tuple[dict[str, Any], Tensor]:
    """Where each sample's question is read (vaq rows from its question prefix on) and written (vqa input).

    Kept: row p of the VAQ logits predicts token p + 1, so the pasted text starts with the second question token and
    ends with what follows the end-of-sequence token; the place of the first sample's question is used for all.
    [train_edl_vaq_aqa_nogate]
    """
    width = {name: batch[name]["ids"].shape[-1] for name in ("vqa", "vaq")}
    start = int(batch["question_start"][0])
    read, write, counts = [], [], []
    for b, (prefix, count) in enumerate(zip(batch["vaq_prefix"].tolist(), batch["question_len"].tolist(), strict=True)):
        # Kept: a question that does not fit ends the replacement, for all later samples too. [train_aqa_overflow]
        if prefix + count > max_seq_len or start + count > max_seq_len:
            break
        step = torch.arange(count)
        # A batch trimmed to its longest row may be narrower than max_seq_len; positions past it carry no text in
        # either.
        inside = (prefix + step < width["vaq"]) & (start + step < width["vqa"])
        step = step[inside]
        read.append(b * width["vaq"] + prefix + step)
        write.append(b * width["vqa"] + start + step)
        counts.append(len(step))
    empty = torch.empty(0, dtype=torch.long)
    seeds = batch["noise_seed"].tolist() if "noise_seed" in batch else list(range(len(batch["vaq_prefix"])))
    flat = torch.cat(read) if read else empty
    question = {
        "read_flat": flat,
        "write_M": torch.cat(write) if write else empty,
        "counts": counts,
        "seeds": seeds[: len(counts)],
    }
    return question, flat
