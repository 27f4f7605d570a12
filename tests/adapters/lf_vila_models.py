"""Reference cases of whole LF-VILA models and their losses."""

from __future__ import annotations

from typing import Any

import torch
from adapters.lf_vila_parts import bert_sizes, encoder_sizes, gradients, present
from refcases.case import Case
from refcases.ranks import run_ranks
from torch import Tensor

from vidalign.losses.gather import gather_with_grad
from vidalign.models.lf_vila.base import Architecture, LFVila
from vidalign.models.lf_vila.heads import LFVilaAnswers, LFVilaMultipleChoice, LFVilaVideo
from vidalign.models.lf_vila.mtc import MTCSizes, global_contrastive_loss, mtc_loss
from vidalign.models.lf_vila.pretrain import LFVilaPretrain
from vidalign.models.lf_vila.retrieval import LFVilaRetrieval
from vidalign.scoring.retrieval import similarity

MASKS = {"mask_m10000": "minus_10000", "mask_fmin": "uniform"}


def architecture(values: dict[str, Any], video: list[int], *, mask: str = "mask_fmin") -> Architecture:
    """From the `config` block of a case and its clip (batch, frames, height, width)."""
    return Architecture(
        video=encoder_sizes(values["VideoEncoder"]),
        bert=bert_sizes(values["bert"]),
        num_frames=video[1],
        image_hw=tuple(video[2:]),
        local_layers=values["num_local_layers"],
        stage1_layers=values["stage1_layers"],
        clips=values["DATA"]["sample_clip"],
        segments=values["type_vocab_size"],
        drop_path=values["VideoEncoder"]["drop_path_rate"],
        mask_rule=MASKS[mask],
    )


def pretrain_model(values: dict[str, Any], video: list[int], *, mask: str = "mask_fmin") -> LFVilaPretrain:
    """The pre-training model of a case."""
    training = values["TRAINING"]
    weights = {"ct_global": training["ct_global_loss_weight"], "ct_time": training["ct_time_loss_weight"]}
    weights |= {name: training[f"{name}_loss_weight"] for name in ("mlm", "vtm") if f"{name}_loss_weight" in training}
    return LFVilaPretrain(
        architecture(values, video, mask=mask),
        stage=values["stage"],
        mtc=MTCSizes(training["num_key"], training["num_value"], training["num_other_neg"]),
        temperature=training["temp"],
        mtc_temperature=training["time_temp"],
        weights=weights,
        frozen_stages=values["VideoEncoder"].get("frozen_stages", -1),
        frozen_layers=values.get("bert_frozen_stage", -1),
    )


def video_size(case: Case) -> list[int]:
    """(batch, frames, height, width) of a case's video."""
    shape = case.tensor("in/video_frames").shape
    return [shape[0], *shape[2:]]


def batch_of(case: Case) -> dict[str, Any]:
    """The package's batch."""
    tensors = case.group("in")
    batch: dict[str, Any] = {"uid": [case.label for _ in tensors["video_frames"]], "video": tensors["video_frames"]}
    names = {"text_ids": "text_ids", "attention_mask": "text_mask", "labels": "label", "mlm_labels": "mlm_labels"}
    names |= {"span_labels": "span_labels", "span_label_weights": "span_weights"}
    batch |= {ours: tensors[official] for official, ours in names.items() if official in tensors}
    if "perm_key" in tensors:
        batch["mtc_orders"] = torch.stack([tensors[f"perm_{part}"] for part in ("key", "value", "other")], dim=1)
    return batch


def without_gradient(model: LFVila, total: Tensor) -> list[str]:
    """Names of trainable parameters that `total` does not reach."""
    named = {name: value for name, value in model.named_parameters() if value.requires_grad}
    grads = torch.autograd.grad(total, list(named.values()), allow_unused=True, retain_graph=True)
    return [name for name, grad in zip(named, grads, strict=True) if grad is None]


def mask_families(case: Case) -> list[str]:
    """The two results of a case with text; gradients belong to the first."""
    return [mask for mask in MASKS if any(name.startswith(f"out/{mask}/") for name in case.names)]


def run_pretrain(case: Case) -> dict[str, Any]:
    """Kinds pretrain_stage1 and pretrain_stage2."""
    values, result = case.json["hyper"]["config"], {}
    for mask in mask_families(case):
        model = pretrain_model(values, video_size(case), mask=mask)
        model.load_state(case.params)
        model.eval()
        batch = batch_of(case)
        output = model(batch)
        found = {f"{name}_loss": loss for name, loss in output.losses.items()} | {"total": output.total}
        prefix = "eval_" if values["stage"] == 2 else ""
        found |= {f"{prefix}text_global_feat": model.embed_text(batch)}
        found |= {f"{prefix}video_global_feat": model.embed_video(batch)}
        if values["stage"] == 2:
            found |= {"mlm_acc": output.logs["mlm_accuracy"], "vtm_acc": output.logs["vtm_accuracy"]}
            found |= {"mlm_logits": model.word_logits(batch)}
        result |= present(case, mask, found)
        if mask == "mask_m10000":
            result |= gradients(case, output.total, {"": model})
            result["json:facts/no_grad_params"] = without_gradient(model, output.total)
            trained = {name: value.requires_grad for name, value in model.named_parameters()}
            result["json:facts/trainable"] = [name for name, trains in trained.items() if trains]
            result["json:facts/frozen_count"] = len([name for name, trains in trained.items() if not trains])
    return result


def run_retrieval(case: Case) -> dict[str, Any]:
    """Kind retrieval."""
    result: dict[str, Any] = {}
    for mask in mask_families(case):
        values = case.json["hyper"]["config"]
        model = LFVilaRetrieval(
            architecture(values, video_size(case), mask=mask), temperature=values["TRAINING"]["temp"]
        )
        model.load_state(case.params)
        model.eval()
        batch = batch_of(case)
        loss = model(batch).total
        text, video = model.embed_text(batch), model.embed_video(batch)
        found = {"loss": loss, "text_global_feat": text, "video_global_feat": video}
        result |= present(case, mask, found | {"similarity": similarity(text.detach().numpy(), video.detach().numpy())})
        if mask == "mask_m10000":
            result |= gradients(case, loss, {"": model})
    return result


def run_head(case: Case, model_of: Any) -> dict[str, Any]:
    """Kinds with an answer head; model_of(mask) builds the model."""
    result: dict[str, Any] = {}
    for mask in mask_families(case):
        model: LFVila = model_of(mask)
        model.load_state(case.params)
        model.eval()
        batch = batch_of(case)
        output = model(batch)
        found = {"loss": output.losses["answer"], "acc": output.logs["accuracy"], "total": output.total}
        if hasattr(model, "logits"):
            found["logits"], _ = model.logits(batch)
        else:
            found["logits"] = model.classify(batch)
        if "span" in output.losses:
            found |= {"span_loss": output.logs["span_unweighted"], "span_acc": output.logs["span_accuracy"]}
        result |= present(case, mask, found)
        if mask == "mask_m10000":
            result |= gradients(case, output.total, {"": model})
            result["json:facts/no_grad_params"] = without_gradient(model, output.total)
    return result


def run_qa_classification(case: Case) -> dict[str, Any]:
    """Kind qa_classification."""
    values = case.json["hyper"]["config"]

    def model_of(mask: str) -> LFVilaAnswers:
        answers = len(case.tensor("param/text_encoder.classifier.weight"))
        smoothing = values["TRAINING"].get("label_smoothing", 0.0)
        return LFVilaAnswers(
            architecture(values, video_size(case), mask=mask), num_answers=answers, label_smoothing=smoothing
        )

    return run_head(case, model_of)


def run_qa_multichoice(case: Case) -> dict[str, Any]:
    """Kind qa_multichoice."""
    hyper = case.json["hyper"]

    def model_of(mask: str) -> LFVilaMultipleChoice:
        return LFVilaMultipleChoice(
            architecture(hyper["config"], video_size(case), mask=mask),
            span_weight=hyper.get("span_loss_weight", 1.0),
            merge_sentences=hyper["config"].get("use_simple_merge_qas", False),
        )

    return run_head(case, model_of)


def run_video_classification(case: Case) -> dict[str, Any]:
    """Kind video_classification."""
    values = case.json["hyper"]["config"]
    classes = len(case.tensor("param/classifier.weight"))
    model = LFVilaVideo(architecture(values, video_size(case)), num_classes=classes)
    model.load_state(case.params)
    model.eval()
    batch = batch_of(case)
    output = model(batch)
    video, frames = model.features(batch["video"])
    return gradients(case, output.total, {"": model}) | {
        "out/loss": output.total,
        "out/acc": output.logs["accuracy"],
        "out/logits": model.classify(batch),
        "out/video_global_feat": video,
        "out/video_frame_feat": frames,
        "json:facts/no_grad_params": without_gradient(model, output.total),
    }


def run_losses(case: Case) -> dict[str, Any]:
    """Both contrastive losses on given features, with gradients."""
    features = {name: value.requires_grad_() for name, value in case.group("in").items() if "perm" not in name}
    settings = case.json["hyper"]["TRAINING"]
    loss = global_contrastive_loss(features["video_global"], features["text_global"], temperature=settings["temp"])
    result: dict[str, Any] = {"out/ct_global_loss": loss} | gradients_of(features, loss, "", "global")
    orders = torch.stack([case.tensor(f"in/perm_{part}") for part in ("key", "value", "other")], dim=1)
    for number, variant in enumerate(case.json["hyper"]["mtc_variants"]):
        own = settings | variant
        loss, labels = mtc_loss(
            features["video_local"],
            features["text_local"],
            orders,
            sizes=MTCSizes(own["num_key"], own["num_value"], own["num_other_neg"]),
            temperature=own["time_temp"],
        )
        result |= {f"out/mtc{number}_loss": loss, f"out/mtc{number}_labels": labels}
        result |= gradients_of(features, loss, f"mtc{number}_", "local")
    return result


def gradients_of(features: dict[str, Tensor], loss: Tensor, prefix: str, part: str) -> dict[str, Tensor]:
    """grad/<prefix><name> of the features whose name ends with `part`."""
    own = {name: value for name, value in features.items() if name.endswith(part)}
    grads = torch.autograd.grad(loss, list(own.values()))
    return {f"grad/{prefix}{name}": grad for name, grad in zip(own, grads, strict=True)}


def contrast_rank(video: Tensor, text: Tensor, temperature: float) -> list[Tensor]:
    """In one process: loss over all processes, gradients of the own features."""
    video, text = video.requires_grad_(), text.requires_grad_()
    loss = global_contrastive_loss(gather_with_grad(video), gather_with_grad(text), temperature=temperature)
    return [loss.detach(), *torch.autograd.grad(loss, [video, text])]


def run_distributed_gather(case: Case) -> dict[str, Any]:
    """Real processes, one per rank."""
    world = case.json["hyper"]["world_size"]
    inputs = [
        {
            "video": case.tensor(f"in/video_rank{rank}"),
            "text": case.tensor(f"in/text_rank{rank}"),
            "temperature": case.json["hyper"]["temp"],
        }
        for rank in range(world)
    ]
    result: dict[str, Any] = {}
    for rank, (loss, video, text) in enumerate(run_ranks(world, contrast_rank, inputs)):
        result |= {f"out/loss_rank{rank}": loss, f"grad/video_rank{rank}": video, f"grad/text_rank{rank}": text}
    return result
