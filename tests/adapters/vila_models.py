"""Reference cases of whole ViLA models: build them from a case's weights, hand over its batch.

Names are translated and tensors cast and indexed; all numbers come from the package.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from refcases.case import Case
from refcases.objectives import change_norm
from torch import Tensor

from vidalign.backbones import flan_t5
from vidalign.backbones.flan_t5_answers import official_steps
from vidalign.config.schema import OptimizerConfig
from vidalign.models.vila.config import (
    DistillConfig,
    LoRAConfig,
    SelectorConfig,
    ViLAConfig,
    ViLALoRAConfig,
    ViLAOriConfig,
)
from vidalign.models.vila.keys import official_trainable
from vidalign.models.vila.model import ViLA
from vidalign.models.vila.sizes import Dims
from vidalign.runners.optim import build_optimizer
from vidalign.runners.progress import LoopSettings
from vidalign.runners.schedules import lavis_warmup_cosine
from vidalign.runners.train import train
from vidalign.tasks.config import MultipleChoiceConfig
from vidalign.tasks.multiple_choice import MultipleChoice


def tower_dims(case: Case, weights: dict[str, Tensor], *, suffix: str = "") -> Dims:
    """The case's sizes; what the JSON does not say is read off the weights."""
    json = dims_of(case)
    words = weights.get(f"Qformer{suffix}.bert.embeddings.word_embeddings.weight")
    return Dims(
        image_px=json["img"],
        patch_px=json["patch"],
        vision_dim=json["v_d"],
        vision_depth=json["v_L"],
        vision_heads=json["v_h"],
        qformer_dim=json["q_d"],
        qformer_depth=json["q_L"],
        qformer_heads=json["q_h"],
        qformer_hidden=json["q_ff"],
        qformer_vocab=None if words is None else len(words),
        qformer_positions=json["q_pos"],
        num_queries=weights[f"query_tokens{suffix}"].shape[1],
        t5={
            "vocab_size": json["t5_vocab"],
            "d_model": json["t5_d"],
            "d_kv": json["t5_dkv"],
            "num_heads": json["t5_h"],
            "d_ff": json["t5_ff"],
            "num_layers": json["t5_L"],
            "num_decoder_layers": json["t5_Ld"],
        },
    )


def dims_of(case: Case) -> dict[str, Any]:
    """The case's sizes, or those of the case that lends its weights."""
    lender = case.json.get("params_from")
    return case.json["dims"] if "dims" in case.json else dims_of(case.other(lender.split()[0]))


def hyper_of(case: Case) -> dict[str, Any]:
    """The case's settings over those of the case that lends its weights."""
    lender = case.json.get("params_from")
    borrowed = hyper_of(case.other(lender.split()[0])) if lender and lender != "None" else {}
    return borrowed | case.json.get("hyper", {})


def model_config(case: Case, weights: dict[str, Tensor]) -> Any:
    """The variant by what the weights hold."""
    hyper, videos = hyper_of(case), case.group("in")
    video = videos["video"] if "video" in videos else videos["videos"][0]
    penalty = hyper.get("generate_kwargs", {}).get("repetition_penalty", 1.5)
    common = {"size": "tiny", "num_frames": video.shape[1], "dropout": 0.0, "repetition_penalty": penalty}
    if "fs.conv_pool.weight" not in weights:
        return ViLAOriConfig(**common)
    uniform = videos["gumbel_uniform"] if "gumbel_uniform" in videos else videos["gumbel_uniforms"][0]
    common |= {
        "frames_kept": uniform.shape[1],
        "selector": SelectorConfig(at_evaluation="sample", temperature=case.json["hyper"].get("temperature")),
        "distill": DistillConfig(weight=hyper.get("dist_weight", 0.01)),
    }
    if "r" in hyper:
        return ViLALoRAConfig(**common, lora=LoRAConfig(rank=hyper["r"], alpha=hyper["alpha"], dropout=0.0))
    return ViLAConfig(**common)


def vila(case: Case) -> ViLA:
    """A model with the case's weights and settings."""
    weights = {name: value.float() if value.is_floating_point() else value for name, value in case.params.items()}
    model = ViLA.build(tower_dims(case, weights), model_config(case, weights))
    model.load_state(weights)
    asked = hyper_of(case).get("generate_kwargs", {})
    model.max_new_tokens = asked.get("max_new_tokens", model.max_new_tokens)
    # A temperature that the case fixes holds from the start.
    model.set_position(0.0, 1)
    return model


def batch_of(case: Case) -> dict[str, Any]:
    """The package's batch."""
    tensors = case.group("in")
    names = {
        "video": "video",
        "gumbel_uniform": "gumbel_uniform",
        "qformer_input_ids": "question_ids",
        "qformer_attention_mask": "question_mask",
        "t5_input_ids": "prompt_ids",
        "t5_attention_mask": "prompt_mask",
        "t5_output_attention_mask": "target_mask",
    }
    batch = {ours: tensors[official] for official, ours in names.items() if official in tensors}
    batch = {name: value.float() if value.is_floating_point() else value.long() for name, value in batch.items()}
    if "t5_output_ids" in tensors:
        ids, mask = tensors["t5_output_ids"].long(), tensors["t5_output_attention_mask"].bool()
        ids[mask.logical_not()] = -100
        batch["target_ids"] = ids
    if "answer_id" in case.json.get("hyper", {}):
        letters, rows = case.json["hyper"]["answer_id"], range(len(tensors["video"]))
        batch |= {"letter_ids": torch.tensor(letters), "uid": [str(row) for row in rows]}
        batch |= {
            "answer_idx": torch.tensor([-1 for _ in rows]),
            "num_options": torch.tensor([len(letters) for _ in rows]),
        }
    return batch


def run_train(case: Case) -> dict[str, Any]:
    """Training step: everything on the way, losses, gradients, parameters without one."""
    model, batch = vila(case).train(), batch_of(case)
    done = model.training_pass(batch)
    result = {
        "out/loss_ce": done.loss_ce,
        "out/logits": done.logits_BLV,
        "out/inputs_t5": done.tokens_BSQD.flatten(1, 2),
        # Without a selector the official code takes frame by frame: the first of each sample is seen first.
        "out/image_embeds_first2": done.features_BTNC.transpose(0, 1).flatten(0, 1)[:2],
    }
    if done.selection is not None:
        result |= {
            "out/image_embeds_first2": done.features_BTNC.flatten(0, 1)[:2],
            "out/gate_logits": done.selection.logits_BSK,
            "out/mask": done.selection.mask_BT11,
            "out/selected_frames": done.selection.positions_BS,
            "out/inputs_t5_teacher": done.teacher_BMD,
            "out/inputs_t5_dist": done.decoded_BMD,
            "out/loss_dist": done.loss_dist,
        }
    total = model(batch).total
    total.backward()
    named = official_trainable(model)
    result["out/loss"] = total
    result |= {f"grad/{name}": one.grad for name, one in named.items() if one.grad is not None}
    lacking = [name for name, one in named.items() if one.grad is None]
    result["json:params_requiring_grad_but_without_gradient"] = lacking
    result["json:lora_parameter_names"] = [name for name in named if "lora_" in name]
    result["json:t5_parameters_trainable"] = [n for n in named if n.startswith("t5_model.") and "lora_" not in n]
    return result


def run_eval(case: Case) -> dict[str, Any]:
    """Answer scoring: the fast way for the scores, the official way for what it generates."""
    model, batch = vila(case).eval(), batch_of(case)
    answers = model.answer(batch)
    letters = model.letter_scores(answers.steps, batch)
    encoded = flan_t5.encode(model.t5_model, answers.embeds_BMD, answers.mask_BM)
    settings = {"penalty": model.config.repetition_penalty, "max_new_tokens": model.max_new_tokens}
    written = official_steps(model.t5_model, encoded, answers.mask_BM, **settings, use_cache=True)
    records = MultipleChoice(MultipleChoiceConfig()).predict(model, batch)
    result = {
        "out/encoder_inputs_embeds": answers.embeds_BMD,
        "out/encoder_attention_mask": answers.mask_BM,
        "out/sequences_first6": written.tokens_BS[:, :6],
        "out/n_steps": len(written.scores),
        "out/answer_scores": letters,
        "out/prediction": [record.pred_idx for record in records],
    }
    for step in (0, 1):
        result[f"out/scores_step{step}"] = answers.steps.scores[step]
        result[f"out/raw_logits_step{step}"] = answers.steps.logits[step]
    if answers.selection is not None:
        result["out/selected_frames"] = result["out/frame_idx"] = answers.selection.positions_BS
    return result


class Epochs:
    """The training loader of a case: other micro-batches in every epoch."""

    def __init__(self, batches: list[dict[str, Any]], length: int) -> None:
        self.batches, self.length = iter(batches), length

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for _ in range(self.length):
            yield {"batch": next(self.batches)}


def run_train_loop(case: Case) -> dict[str, Any]:
    """The training loop with the official rates, temperature, groups and accumulation."""
    hyper, common = case.json["hyper"], batch_of(case)
    model = vila(case)
    named = official_trainable(model)
    before = {name: one.detach().clone() for name, one in named.items()}
    config = OptimizerConfig(weight_decay=hyper["wd"], no_decay="lavis")
    trained = {name: one for name, one in named.items() if one.requires_grad}
    optimizer = build_optimizer(trained, config, lr=0.0)
    seen: dict[str, list[float]] = {"loss": [], "lr": [], "temperature": []}

    def note(module: Any, inputs: Any, output: Any) -> None:
        seen["loss"].append(output.total.item())
        seen["lr"].append(optimizer.param_groups[0]["lr"])
        seen["temperature"].append(module.temperature)

    model.register_forward_hook(note)
    pairs = zip(case.tensor("in/videos").float(), case.tensor("in/gumbel_uniforms"), strict=True)
    batches = [common | {"video": video, "gumbel_uniform": uniform, "uid": []} for video, uniform in pairs]
    train(
        model,
        Epochs(batches, hyper["iters"]),
        optimizer,
        lr_at=partial(
            lavis_warmup_cosine,
            peak=hyper["init_lr"],
            min_lr=hyper["min_lr"],
            warmup_lr=hyper["warmup_lr"],
            warmup_steps=hyper["warmup_steps"],
            epochs=hyper["max_epoch"],
            iterations_per_epoch=hyper["iters"],
        ),
        settings=LoopSettings(max_epochs=hyper["epochs"], accumulate=hyper["accum"], accumulation="sum"),
    )
    norms = {name: change_norm(named[name], before[name]) for name in named}
    order = case.json["parameter_order_of_all_update_norms"]
    result = {f"out/final/{name}": value for name, value in named.items()}
    result |= {f"out/{name}_per_iteration": torch.tensor(seen[name], dtype=torch.float64) for name in seen}
    result["out/all_update_norms"] = torch.stack([norms[name] for name in order])
    result["json:never_updated"] = [name for name in order if norms[name] == 0]
    return result


KINDS = {
    "vila_train": run_train,
    "vila_ori_train": run_train,
    "vila_lora_train": run_train,
    "vila_eval": run_eval,
    "vila_ori_eval": run_eval,
    "vila_lora_eval": run_eval,
    "vila_train_loop": run_train_loop,
}
