"""Reference cases of LF-VILA's pieces: windows, video encoder, text encoder, cross-modal layers."""

from __future__ import annotations

from typing import Any

import torch
from refcases.case import Case
from refcases.objectives import fixed_projection, mean_square, paragraph_probe
from torch import Tensor

from vidalign.backbones.bert import BertSizes
from vidalign.layers.window3d import WindowAttention, relative_position_index, shift_mask
from vidalign.models.lf_vila.features import encode_text
from vidalign.models.lf_vila.htwa import HTWASizes, PatchEmbed, Stage, VideoEncoder
from vidalign.models.lf_vila.keys import load_complete
from vidalign.models.lf_vila.pretrain import (
    first_matching,
    masked_word_loss,
    masked_words,
    matching_loss,
    weighted_total,
)
from vidalign.models.lf_vila.text_encoder import SentenceEmbedding, TextEncoder, with_pseudo_cls


def gradients(case: Case, scalar: Tensor, modules: dict[str, Any]) -> dict[str, Tensor]:
    """grad/<name> for every gradient that the case lists; modules by the prefix of their names."""
    parameters = {
        f"{prefix}{name}": value for prefix, module in modules.items() for name, value in module.named_parameters()
    }
    names = [name.removeprefix("grad/") for name in case.names if name.startswith("grad/")]
    grads = torch.autograd.grad(scalar, [parameters[name] for name in names], retain_graph=True)
    return {f"grad/{name}": grad for name, grad in zip(names, grads, strict=True)}


def run_window_attention(case: Case) -> dict[str, Any]:
    """Plain, masked and cut windows; the index table; shift masks."""
    hyper = case.json["hyper"]
    attention = WindowAttention(hyper["dim"], window=tuple(hyper["window"]), heads=hyper["heads"])
    attention.load_state_dict(case.params)
    size, window, shift = hyper["mask_case"][:3], *hyper["mask_case"][3:]
    mask = shift_mask(tuple(size), tuple(window), tuple(shift))
    masked = attention(case.tensor("in/x"), mask)
    scalar = mean_square(masked)
    result = {
        "out/plain": attention(case.tensor("in/x")),
        "out/masked": masked,
        "out/trunc": attention(case.tensor("in/x_trunc")),
        "out/scalar": scalar,
        "out/mask": mask,
        "out/relative_position_index": relative_position_index(tuple(hyper["window"])),
    }
    for number, extra in enumerate(hyper["extra_masks"]):
        result[f"out/extra_mask{number}"] = shift_mask(tuple(extra[:3]), tuple(extra[3]), tuple(extra[4]))
    return result | gradients(case, scalar, {"": attention})


def run_basic_layer(case: Case) -> dict[str, Any]:
    """One stage block by block, and the patch embedding."""
    hyper = case.json["hyper"]
    stage = Stage(
        hyper["dim"],
        depth=hyper["depth"],
        heads=hyper["heads"],
        window=tuple(hyper["window"]),
        downsample=any(name.startswith("layer.downsample") for name in case.params),
        temporal_shift=not hyper["temporal_no_shifting"],
    )
    embed = PatchEmbed(tuple(hyper["patch"]), hyper["dim"], norm="embed.norm.weight" in case.params)
    load_complete(stage, below(case.params, "layer."))
    load_complete(embed, below(case.params, "embed."))
    x = case.tensor("in/x")
    blocks = stage.run_blocks(x, every=True)
    layer = stage(x)
    window, shift = stage.effective(tuple(x.shape[1:4]))
    scalar = mean_square(layer)
    result = {f"out/block{number}": block for number, block in enumerate(blocks)}
    result |= {"out/layer": layer, "out/scalar": scalar, "out/patch_embed": embed(case.tensor("in/video"))}
    result |= {"out/effective_window": torch.tensor(window), "out/effective_shift": torch.tensor(shift)}
    return result | gradients(case, scalar, {"layer.": stage, "embed.": embed})


def below(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The weights whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def encoder_sizes(values: dict[str, Any]) -> HTWASizes:
    """From the `VideoEncoder` block of a case."""
    return HTWASizes(
        patch_size=tuple(values["patch_size"]),
        embed_dim=values["embed_dim"],
        depths=tuple(values["depths"]),
        downsample_stages=tuple(values["downsample_stages"]),
        stages=tuple(values["stages"]),
        num_heads=tuple(values["num_heads"]),
        window_size=tuple(tuple(window) for window in values["window_size"]),
        local_window=values["local_window"],
        patch_norm=values["patch_norm"],
    )


def run_htwa(case: Case) -> dict[str, Any]:
    """The whole video encoder."""
    values = case.json["hyper"]["VideoEncoder"]
    encoder = VideoEncoder(encoder_sizes(values), drop_path_rate=values["drop_path_rate"])
    encoder.load_state_dict(case.params)
    video = case.tensor("in/video")
    outputs = encoder.stage_outputs(video)
    features = encoder(video)
    scalar = fixed_projection(features, case.tensor("in/grad_weight"))
    result = {f"out/stage{number}": output for number, output in enumerate(outputs[1:])}
    result |= {"out/patch_embed": outputs[0], "out/global": features, "out/scalar": scalar}
    if "out/only_local" in case.names:  # not every geometry has a stage where local features end
        result |= {"out/only_local": encoder.local_features(video)}
    return result | gradients(case, scalar, {"": encoder})


def bert_sizes(values: dict[str, Any]) -> BertSizes:
    """From the `bert` block of a case."""
    return BertSizes(**{name: values[name] for name in BertSizes.__dataclass_fields__})


def text_encoder(case: Case, mask_rule: str) -> dict[str, Any]:
    """Text encoder and sentence embedding with the case's weights, by the prefix of their names."""
    hyper = case.json["hyper"]
    sizes = bert_sizes(hyper["bert"])
    layers = {name.split(".")[4] for name in case.params if name.startswith("text_encoder.bert.encoder.layer.")}
    encoder = TextEncoder(
        sizes,
        local_layers=hyper["num_local_layers"],
        stage1_layers=hyper["stage1_layers"],
        num_layers=len(layers),
        mask_rule=mask_rule,
        pretraining=True,
    )
    parts: dict[str, Any] = {"text_encoder.": encoder}
    if "sent_embedding.norm.weight" in case.params:
        parts["sent_embedding."] = SentenceEmbedding(sizes, segments=hyper["type_vocab_size"])
    for prefix, part in parts.items():
        load_complete(part, below(case.params, prefix))
        part.eval()
    return parts


def present(case: Case, mask: str, found: dict[str, Any]) -> dict[str, Any]:
    """out/<mask>/<name> of those that the case holds."""
    named = {f"out/{mask}/{name}": value for name, value in found.items()}
    return {name: value for name, value in named.items() if name in case.names}


MASKS = {"mask_m10000": "minus_10000", "mask_fmin": "uniform"}


def run_text_encoder(case: Case) -> dict[str, Any]:
    """Sentence level, sentence embedding, paragraph level, with both values of the mask."""
    ids, mask_BML = case.tensor("in/text_ids"), case.tensor("in/attention_mask")
    result: dict[str, Any] = {}
    for name, rule in MASKS.items():
        both = text_encoder(case, rule)
        encoder, embedding = both["text_encoder."], both["sent_embedding."]
        sentences = encoder.sentences(ids, mask_BML)
        embedded = embedding(sentences)
        entered, mask_BT = with_pseudo_cls(embedded, mask_BML)
        tokens = encode_text(encoder, embedding, ids, mask_BML).tokens_BTC
        scalar = paragraph_probe(tokens)
        found = {"sentence_tokens": sentences, "sent_embedding": embedded, "paragraph_input": entered}
        result |= present(case, name, found | {"paragraph_tokens": tokens, "scalar": scalar})
        if rule == "minus_10000":
            result |= gradients(case, scalar, both)
    return result


def run_cross_modal(case: Case) -> dict[str, Any]:
    """The top layers with both heads."""
    embeds, mask = case.tensor("in/embeds"), case.tensor("in/attention_mask")
    words, vtm_labels = masked_words(case.tensor("in/mlm_labels")), case.tensor("in/vtm_labels")
    result: dict[str, Any] = {}
    for name, rule in MASKS.items():
        both = text_encoder(case, rule)
        encoder = both["text_encoder."]
        hidden, pooled = encoder.cross_modal(embeds, mask)
        vtm, vtm_accuracy, vtm_logits = matching_loss(encoder.seq_relationship, pooled, vtm_labels)
        mlm, mlm_accuracy = masked_word_loss(
            encoder.cls.predictions, hidden, words, from_row=first_matching(len(embeds))
        )
        alone, _ = masked_word_loss(encoder.cls.predictions, hidden, words)
        total = weighted_total({"mlm": mlm, "vtm": vtm}, {"mlm": 1.0, "vtm": 10.0})
        found = {"hidden": hidden, "mlm_logits": encoder.cls.predictions(hidden), "vtm_logits": vtm_logits}
        found |= {"mlm_loss": mlm, "vtm_loss": vtm, "mlm_acc": mlm_accuracy, "vtm_acc": vtm_accuracy}
        result |= present(case, name, found | {"mlm_loss_without_vtm": alone, "total": total})
        if rule == "minus_10000":
            result |= gradients(case, total, both)
    return result
