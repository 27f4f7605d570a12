"""Reference cases of ViLA and SeViLA as calls of the package: one function per kind, `case -> {name: value}`.

Adapters rename, cast, index and call; tests/test_adapters_compute_nothing.py holds that line.
"""

from __future__ import annotations

from typing import Any

import torch
from adapters import vila_data, vila_models, vila_sevila
from refcases.case import Case
from refcases.objectives import centred, ramp

from vidalign.backbones import flan_t5
from vidalign.backbones.eva_vit import EvaViT, resize_positions
from vidalign.backbones.qformer import QFormer
from vidalign.models.vila.frame_prompter import FramePrompter
from vidalign.models.vila.sizes import Dims
from vidalign.models.vila.tower import build_norm, build_vit


def run_eva_vit(case: Case) -> dict[str, Any]:
    """All tokens, then ln_vision; gradients of a weighted sum of its output."""
    hyper, weights = case.json["hyper"], case.params
    dims = Dims(
        image_px=hyper["img_size"],
        patch_px=hyper["patch"],
        vision_dim=hyper["embed_dim"],
        vision_depth=hyper["depth"],
        vision_heads=hyper["heads"],
        vision_mlp_ratio=hyper["mlp_ratio"],
        t5={},
    )
    parts = {"visual_encoder": build_vit(dims).requires_grad_(), "ln_vision": build_norm(dims)}
    named = {}
    for part, module in parts.items():
        own = {n.removeprefix(f"{part}."): value for n, value in weights.items() if n.startswith(f"{part}.")}
        module.load_state_dict(own)
        named |= {f"{part}.{n}": value for n, value in module.named_parameters()}
    features = parts["visual_encoder"](case.tensor("in/image"))
    ln = parts["ln_vision"](features)
    grads = torch.autograd.grad(ln, list(named.values()), grad_outputs=ramp(ln))
    return {f"grad/{name}": grad for name, grad in zip(named, grads, strict=True)} | {
        "out/features": features,
        "out/ln": ln,
    }


def run_positions(case: Case) -> dict[str, Any]:
    """The position table on another grid; the number of tokens is that of a ViT with this grid."""
    new = case.json["hyper"]["new_grid"]
    vit = EvaViT(image_px=new, patch_px=1, dim=1, depth=0, num_heads=1)
    return {"out/pos_embed_new": resize_positions(case.tensor("in/pos_embed_old"), vit.num_tokens)}


def run_qformer(case: Case) -> dict[str, Any]:
    """Queries with or without text over masked image tokens; gradients of a weighted sum of the queries' rows."""
    hyper, weights, inputs = case.json["hyper"], case.params, case.group("in")
    qformer = QFormer(
        dim=hyper["hidden"],
        num_heads=hyper["heads"],
        depth=hyper["layers"],
        hidden=hyper["ffn"],
        image_dim=hyper["encoder_width"],
        vocab_size=hyper["vocab"],
        max_positions=len(weights["Qformer.bert.embeddings.position_embeddings.weight"]),
        dropout=0.0,
    )
    own = {n.removeprefix("Qformer."): value for n, value in weights.items() if n.startswith("Qformer.")}
    qformer.load_state_dict(own)
    queries = weights["query_tokens"].requires_grad_()
    image = inputs["encoder_hidden_states"]
    count = queries.shape[1]
    # The case without text holds the ids as well; what it returns tells.
    text = case.tensor("out/last_hidden_state").shape[1] > count
    hidden = qformer(
        queries.expand(len(image), -1, -1),
        image,
        ids_RL=inputs["input_ids"].long() if text else None,
        text_mask_RL=inputs["text_mask"] if text else None,
        image_mask_RN=inputs.get("encoder_mask"),
    )
    named = {f"Qformer.{name}": value for name, value in qformer.named_parameters()} | {"query_tokens": queries}
    seen = hidden[:, :count]
    grads = torch.autograd.grad(seen, list(named.values()), grad_outputs=ramp(seen), allow_unused=True)
    found = {f"grad/{n}": grad for n, grad in zip(named, grads, strict=True) if grad is not None}
    return found | {"out/last_hidden_state": hidden}


def run_t5(case: Case) -> dict[str, Any]:
    """Encoder-decoder on embeddings; gradients of the mean cross-entropy."""
    hyper, inputs = case.json["hyper"], case.group("in")
    config = flan_t5.flan_t5_config(
        {
            "vocab_size": hyper["vocab"],
            "d_model": hyper["d_model"],
            "d_kv": hyper["d_kv"],
            "num_heads": hyper["heads"],
            "d_ff": hyper["d_ff"],
            "num_layers": hyper["layers"],
            "num_decoder_layers": hyper["decoder_layers"],
            "layer_norm_epsilon": hyper["ln_eps"],
            "relative_attention_num_buckets": hyper["buckets"],
            "relative_attention_max_distance": hyper["max_distance"],
        },
        dropout=0.0,
    )
    t5 = flan_t5.build_flan_t5(config)
    t5.load_state_dict(case.params)
    embeds, mask, labels = inputs["inputs_embeds"].requires_grad_(), inputs["attention_mask"].long(), inputs["labels"]
    labels = labels.long()
    encoded = flan_t5.encode(t5, embeds, mask)
    hidden = flan_t5.hidden_of_labels(t5, encoded, mask, labels, inputs["decoder_attention_mask"].long())
    logits = flan_t5.logits(t5, hidden)
    loss = flan_t5.label_loss(logits, labels)
    named = dict(t5.named_parameters()) | {"__inputs_embeds__": embeds}
    grads = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    found = {f"grad/{n}": grad for n, grad in zip(named, grads, strict=True) if grad is not None}
    buckets = {"num_buckets": hyper["buckets"], "max_distance": hyper["max_distance"]}
    # As many offsets as the case shows, 0 in the middle.
    offsets = centred(len(case.tensor("out/bucket_causal")))
    return found | {
        "out/loss": loss,
        "out/logits": logits,
        "out/encoder_last_hidden_state": encoded,
        "out/loss_none_per_sequence": flan_t5.label_losses(logits, labels),
        "out/encoder_bias": flan_t5.position_bias(t5, case.tensor("out/encoder_bias").shape[-1]),
        "out/bucket_bidirectional": flan_t5.position_buckets(offsets, bidirectional=True, **buckets),
        "out/bucket_causal": flan_t5.position_buckets(offsets, bidirectional=False, **buckets),
    }


def run_frame_selector(case: Case) -> dict[str, Any]:
    """The Frame-Prompter alone; gradients of a weighted sum of the chosen frames."""
    hyper = case.json["hyper"]
    prompter = FramePrompter(
        num_frames=hyper["frame_num"], num_kept=hyper["num_segments"], num_tokens=hyper["inplanes"]
    )
    prompter.load_state_dict(case.params)
    x = case.tensor("in/x").requires_grad_()
    uniform = case.tensor("in/gumbel_uniform")
    selection = prompter(x, temperature=hyper["temperature"], uniform_BSK=uniform)
    named = dict(prompter.named_parameters()) | {"__x__": x}
    tokens = selection.tokens_BSNC
    grads = torch.autograd.grad(tokens, list(named.values()), grad_outputs=ramp(tokens))
    return {f"grad/{n}": grad for n, grad in zip(named, grads, strict=True)} | {
        "out/gate_logits": selection.logits_BSK,
        "out/mask": selection.mask_BT11,
        "out/selected": tokens,
    }


KINDS = {
    "eva_vit": run_eva_vit,
    "eva_pos_embed_interpolation": run_positions,
    "qformer": run_qformer,
    "t5": run_t5,
    "frame_selector": run_frame_selector,
    **vila_models.KINDS,
    **vila_data.KINDS,
    **vila_sevila.KINDS,
}
