"""Option scores of LLaMA-VQA, BoViLA and TOPA: each option's mean token loss, the smallest wins (official evaluation).

Shape letters: B questions, O options, T positions, D width, W nodes of a tree, N logit rows, K supervised tokens per
option, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from einops import repeat
from torch import Tensor

from vidalign.backbones.option_tree import OptionTree, pack_options
from vidalign.backbones.video_lm import VideoLM
from vidalign.backbones.video_prompts import embed_with_video


def mean_token_loss(token_ce_BOT: Tensor) -> Tensor:
    """Per-token cross-entropy, 0 where nothing is supervised -> mean per option (B, O).

    Kept: a supervised token whose loss is exactly 0 is not counted, and an option without any counted token is NaN,
    which the official arg-min then picks. [eval_loop_star]
    """
    return token_ce_BOT.sum(-1) / counted_tokens(token_ce_BOT)


def counted_tokens(token_ce_BOT: Tensor) -> Tensor:
    """How many tokens each option's mean is taken over (B, O)."""
    return (token_ce_BOT != 0).sum(-1)


def option_losses(
    model: VideoLM, batch: dict[str, Any], *, bias_start_B: Tensor, name: str = "vqa"
) -> tuple[Tensor, Tensor, Tensor]:
    """-> (token_ce (B, O, T-1), logits (N, V) of the distinct supervised positions, read_BOK into them or -1).

    `name` is the stream that holds the options. bias_start_B: first column of the video as the bias sees it, -1 where a
    question has none. One row per question, the options as branches of a tree; the exact path runs one full row per
    option, as does the fast one where options part before the video has ended or nothing is supervised.
    """
    stream = batch[name]
    tokens_BFD, _ = model.video(batch["video"])
    if not model.exact:
        tree = batch["tree"] if "tree" in batch else pack_options(stream["ids"], stream["labels"], stream["lengths"])
        tree = tree.to(tokens_BFD.device)
        if _holds_video(tree, stream["video_start"], num_frames=tokens_BFD.shape[1]):
            return _losses_of_tree(model, stream, tokens_BFD, tree, bias_start_B)
    return _losses_of_full_rows(model, stream, tokens_BFD, bias_start_B)


def _holds_video(tree: OptionTree, start_B: Tensor, *, num_frames: int) -> bool:
    """Whether each video lies in what its options share, so that every branch sees it."""
    return len(tree.nodes_N) > 0 and bool((start_B + num_frames <= tree.shared_B).all())


def _losses_of_tree(
    model: VideoLM, stream: dict[str, Tensor], tokens_BFD: Tensor, tree: OptionTree, bias_start_B: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    x_BWD = embed_with_video(model.llm, tree.ids_BW, tokens_BFD, stream["video_start"])
    hidden_BWD = model.llm(
        x_BWD,
        prompts=model.adapter.prompts(dtype=model.llm.dtype, video_start_R=bias_start_B),
        mask_B1TT=tree.mask_B1WW,
        position_ids_BT=tree.positions_BW,
    )
    logits_NV = model.llm.logits(hidden_BWD.flatten(0, 1)[tree.nodes_N])
    log_p_NV = logits_NV.float().log_softmax(-1)
    ce_BOK = -log_p_NV[tree.read_BOK, tree.target_BOK] * tree.valid_BOK
    width = stream["labels"].shape[-1] - 1
    token_ce = ce_BOK.new_zeros(*ce_BOK.shape[:2], width).scatter_add(2, tree.column_BOK, ce_BOK)
    return token_ce, logits_NV, tree.read_BOK.masked_fill(~tree.valid_BOK, -1)


def _losses_of_full_rows(
    model: VideoLM, stream: dict[str, Tensor], tokens_BFD: Tensor, bias_start_B: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    batch_size, num_options, width = stream["ids"].shape
    start_R = repeat(bias_start_B, "b -> (b o)", o=num_options)
    [hidden_RTD] = model.hidden([model.embed(stream, tokens_BFD)], [start_R])
    logits_RTV = model.llm.logits(hidden_RTD)[:, :-1]
    target_RT = stream["labels"].flatten(0, 1)[:, 1:]
    scored_RTV = logits_RTV if model.exact else logits_RTV.float()
    ce_RT = F.cross_entropy(scored_RTV.transpose(1, 2), target_RT, ignore_index=0, reduction="none")
    span_RT = stream["mask"].flatten(0, 1)[:, 1:] > 0 if "mask" in stream else target_RT != 0
    counts_R = span_RT.sum(-1)
    read_RK = torch.full((batch_size * num_options, int(counts_R.max())), -1, device=ce_RT.device)
    filled = torch.arange(read_RK.shape[1], device=ce_RT.device) < counts_R[:, None]
    read_RK[filled] = torch.arange(int(counts_R.sum()), device=ce_RT.device)
    return (
        ce_RT.view(batch_size, num_options, width - 1),
        logits_RTV[span_RT],
        read_RK.view(batch_size, num_options, -1),
    )
