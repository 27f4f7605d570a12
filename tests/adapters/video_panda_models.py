"""Reference cases of STAB, the alignment and the whole Video-Panda model.

Names are translated and tensors cast and indexed; all numbers come from the package.
"""

from __future__ import annotations

from typing import Any

import torch
from refcases.case import Case
from refcases.formulas import ParameterFormula, clip_by_formula
from refcases.summaries import abs_sum, best, mean_last, norms, square_mean_last
from torch import Tensor

from vidalign.backbones.languagebind import LanguageBindVideo
from vidalign.backbones.meta_llama import build_llama, llama_config
from vidalign.models.video_panda.alignment import AlignmentHead, alignment_loss, plan_alignment
from vidalign.models.video_panda.boxes import boxes_of
from vidalign.models.video_panda.config import VideoPandaConfig
from vidalign.models.video_panda.keys import HEAD, load_start, official_name
from vidalign.models.video_panda.model import VideoPanda
from vidalign.models.video_panda.prompts import pad, prefix_length
from vidalign.models.video_panda.splice import plan_splice, splice
from vidalign.models.video_panda.stab import Stab, project_tokens, projector
from vidalign.models.video_panda.stab_parts import Extractor, FrameAttention, LocalMHRA, WindowAttention
from vidalign.runners.optim import count_parameters

WEIGHTS = "tiny_model_weights"


def run_lsd(case: Case) -> dict[str, Any]:
    """Kind stab_lsd_local_attention: (n, C, H, W) there, channels last here."""
    module = WindowAttention(case.json["n_dim"], heads=case.json["heads"])
    module.load_state_dict(case.group("param"))
    x = case.tensor("in/features").requires_grad_()
    y = module(x.permute(0, 2, 3, 1)).flatten(1, 2)
    return {"out/y": y} | gradients(module, {"features": x}, y, case.tensor("in/cotangent"))


def run_fsra(case: Case) -> dict[str, Any]:
    """Kind stab_fsra_global_attention."""
    module = FrameAttention(case.json["n_dim"], heads=case.json["heads"])
    module.load_state_dict(case.group("param"))
    query, tokens = (case.tensor(f"in/{name}").requires_grad_() for name in ("class_feature", "features"))
    y = module(query.flatten(0, 1), tokens)[:, None]
    return {"out/y": y} | gradients(
        module, {"class_feature": query, "features": tokens}, y, case.tensor("in/cotangent")
    )


def run_lste(case: Case) -> dict[str, Any]:
    """Kind stab_lste_local_mhra: evaluation, then one training step over one video."""
    module = LocalMHRA(case.json["n_dim"])
    module.load_state_dict(case.group("param"))

    def run(name: str) -> Tensor:
        x = case.tensor(f"in/{name}").permute(0, 2, 3, 4, 1)
        return module(x, chunks=[len(x)]).permute(0, 4, 1, 2, 3)

    evaluated = run_in(module, False, lambda: run("eval_x"))
    trained = run_in(module, True, lambda: run("train_x"))
    norm = module.pos_embed[0]
    return {
        "out/eval_y": evaluated,
        "out/train_y": trained,
        "out/train_running_mean": norm.running_mean,
        "out/train_running_var": norm.running_var,
    }


def run_gstra(case: Case) -> dict[str, Any]:
    """Kind stab_gstra_extractor: sequence first there, rows first here."""
    module = Extractor(case.json["n_dim"], heads=case.json["n_head_gstra"]).eval()
    module.load_state_dict(case.group("param"))
    x, y = (case.tensor(f"in/{name}").requires_grad_() for name in ("x", "y"))
    out = module(x[0], y.transpose(0, 1))[None]
    return {"out/out": out} | gradients(module, {"x": x, "y": y}, out, case.tensor("in/cotangent"))


def run_in(module: torch.Tensor, training: bool, run: Any) -> Any:
    """`run()` with the module in this mode."""
    module.train(training)
    return run()


def gradients(module: Any, inputs: dict[str, Tensor], y: Tensor, cotangent: Tensor) -> dict[str, Tensor]:
    """Of all parameters and inputs, for the given gradient of the output."""
    named = dict(module.named_parameters()) | {f"in.{name}": x for name, x in inputs.items()}
    wanted = {name: one for name, one in named.items() if one.requires_grad}
    grads = torch.autograd.grad(y, list(wanted.values()), cotangent, allow_unused=True)
    return {f"grad/{name}": grad for name, grad in zip(wanted, grads, strict=True) if grad is not None}


def stab_of(values: dict[str, Any]) -> Stab:
    """STAB without dropout, as the cases were made."""
    return Stab(
        dim=values["n_dim"],
        patch_px=values["patch_stride"],
        gstra_heads=values["n_head_gstra"],
        heads=values.get("num_heads_lsd_fsra", 8),
        dropout=0.0,
    )


def part(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Weights below a prefix."""
    return {name.removeprefix(prefix): one for name, one in weights.items() if name.startswith(prefix)}


def run_stab_full(case: Case) -> dict[str, Any]:
    """Kind stab_full: STAB and projector in evaluation and training."""
    weights = case.params
    tower = stab_of(case.json)
    tower.load_state_dict(part(weights, "video_tower."))
    mlp = projector(case.json["n_dim"], len(weights["video_projector.0.weight"]))
    mlp.load_state_dict(part(weights, "video_projector."))
    clip = case.tensor("in/pixel_values")
    frames = clip.flatten(0, 1)
    # A chunk of single frames is a batch of pictures; otherwise all chunks belong to one video.
    clips = [len(frames)] if case.json["T"] > 1 else [1 for _ in frames]
    boxes = boxes_of(frames[:, 3], patch_px=case.json["patch_stride"])

    def run() -> Tensor:
        return project_tokens(tower, mlp, frames[:, :3], boxes, clips=clips)

    result = {"out/eval_tokens": run_in(tower, False, run)}
    tokens = run_in(tower, True, run)
    named = {f"video_tower.{name}": one for name, one in tower.named_parameters() if one.requires_grad}
    named |= {f"video_projector.{name}": one for name, one in mlp.named_parameters()}
    grads = torch.autograd.grad(tokens, list(named.values()), case.tensor("in/cotangent"), allow_unused=True)
    norm = tower.lmhra1.pos_embed[0]
    return {
        **result,
        "out/train_tokens": tokens,
        "out/train_running_mean": norm.running_mean,
        "out/train_running_var": norm.running_var,
        "out/patch_hw": [list(box.grid) for box in boxes],
        "out/token_lens": [tower.count(box) for box in boxes],
        **{f"grad/{name}": grad for name, grad in zip(named, grads, strict=True) if grad is not None},
    }


def model_of(case: Case) -> VideoPanda:
    """The whole tiny model with its teacher and weights, dropout off."""
    source = case.other(case.json["params_from"].split()[0])
    model, weights = bare_model(source), source.params
    load_start(model, weights, where=case.label)
    given = part(weights, "model.video_teacher.video_tower.")
    wanted = model.teacher.state_dict()
    model.teacher.load_state_dict({name: one for name, one in given.items() if name in wanted})
    return model


def bare_model(source: Case) -> VideoPanda:
    """The model of a case that lists sizes, with random weights."""
    sizes = source.json
    own, dims = sizes["llm_config"], sizes["teacher_config"]
    row = {
        "dim": own["hidden"],
        "n_layers": own["layers"],
        "n_heads": own["heads"],
        "ffn_hidden": own["inter"],
        "norm_eps": own["rms_norm_eps"],
        "rope_theta": own["rope_theta"],
    }
    lm = build_llama(llama_config(row, vocab_size=own["vocab_size"]), dtype=torch.float32)
    teacher = LanguageBindVideo(
        num_frames=dims["num_frames_in_layers"],
        select_layer=dims["select_layer"],
        hidden_size=dims["hidden"],
        intermediate_size=dims["inter"],
        num_hidden_layers=dims["layers"],
        num_attention_heads=dims["heads"],
        image_size=dims["image_size"],
        patch_size=dims["patch_size"],
        hidden_act=dims["hidden_act"],
        layer_norm_eps=dims["layer_norm_eps"],
    )
    layers = sizes["compressor"]["layer_idx"]
    head = AlignmentHead(
        lm_dim=own["hidden"], dim=dims["hidden"], states=len(layers), heads=sizes["compressor"]["num_heads"]
    )
    return VideoPanda(lm, stab_of(sizes["stab"]), config=VideoPandaConfig(), layers=layers, head=head, teacher=teacher)


def rows_of(case: Case) -> tuple[list[Tensor], list[Tensor]]:
    """Ids and labels of each sample without padding."""
    masks = case.tensor("in/attention_mask")
    return tuple(
        [row[mask] for row, mask in zip(case.tensor(f"in/{name}"), masks, strict=True)]
        for name in ("input_ids", "labels")
    )


def batch_of(model: VideoPanda, frames_case: Case, ids: list[Tensor], labels: list[Tensor]) -> dict[str, Any]:
    """The package's training batch from a case's normalised frames."""
    student = [frames_case.tensor(f"in/frames_{number}") for number, _ in enumerate(ids)]
    teacher = [frames_case.tensor(f"in/frames_teacher_{number}") for number, _ in enumerate(ids)]
    return batch_from(model, student, teacher, ids, labels)


def batch_from(
    model: VideoPanda, student: list[Tensor], teacher: list[Tensor], ids: list[Tensor], labels: list[Tensor]
) -> dict[str, Any]:
    """As `batch_of`, from clips (T, 4, P, P)."""
    used = torch.cat(student)
    boxes = boxes_of(used[:, 3], patch_px=model.video_tower.patch_px)
    counts = iter([model.video_tower.count(box) for box in boxes])
    plan = plan_splice(ids, labels, [[next(counts) for _ in clip] for clip in student])
    plan |= plan_alignment(plan["frame_rows"].tolist(), boxes, teacher_side=model.teacher.side)
    return {
        "uid": [str(number) for number, _ in enumerate(ids)],
        "frames": used[:, :3],
        "boxes": boxes,
        "clips": [len(clip) for clip in student],
        "teacher_frames": torch.cat(teacher)[:, :3] if teacher else None,
        "teacher_boxes": boxes,
        "plan": plan,
    }


def run_train_forward(case: Case) -> dict[str, Any]:
    """Kind model_train_forward: the fast path's losses and gradients; logits and states with the padding masked."""
    model = model_of(case).train()
    ids, labels = rows_of(case)
    batch = batch_of(model, case, ids, labels)
    output = model(batch)
    named = {official_name(name): one for name, one in model.named_parameters() if "teacher" not in name}
    trained = {name: one for name, one in named.items() if one.requires_grad}
    grads = torch.autograd.grad(output.total, list(trained.values()), allow_unused=True)
    found = {name: grad for name, grad in zip(trained, grads, strict=True) if grad is not None}
    norm = model.video_tower.lmhra1.pos_embed[0]
    result = {
        "out/bn_running_mean": norm.running_mean.clone(),
        "out/bn_running_var": norm.running_var.clone(),
        "out/bn_num_batches_tracked": norm.num_batches_tracked.clone(),
        "out/loss": output.total,
        "out/llm_loss": output.losses["llm"],
        "out/video_loss": output.losses["alignment"],
        "json:values": {
            "loss": output.total.item(),
            "llm_loss": output.losses["llm"].item(),
            "video_loss": output.losses["alignment"].item(),
        },
        "json:parameters_without_gradient": [name for name in named if name not in found],
        **{f"grad/{name}": grad for name, grad in found.items()},
    }
    model.exact = True
    with torch.no_grad():
        states = model.states(batch)
        logits = model.lm.lm_head(states[-1])
        tokens = model.teacher.tokens(batch["teacher_frames"], clip_frames=case.json["T"])
    chunk = case.json["chunk_size"]
    chunks = tokens.unflatten(0, (len(ids), -1, chunk))
    return {
        **result,
        "out/hidden_state_norms": norms(states),
        "out/logits_argmax": best(logits),
        "out/logits_last24": logits[:, -24:],
        "out/logits_mean": mean_last(logits),
        "out/teacher_feature_0": chunks[0][:, :2],
        "out/teacher_feature_means": mean_last(chunks),
    }


def run_splice(case: Case) -> dict[str, Any]:
    """Kind model_splice, in evaluation mode."""
    model = model_of(case).eval()
    ids, labels = rows_of(case)
    batch = batch_of(model, case.other(case.json["frames_from"].split()[0]), ids, labels)
    plan = batch["plan"]
    with torch.no_grad():
        visual = model.visual_tokens(batch["frames"], batch["boxes"], batch["clips"])
        embeds = splice(model.lm.get_input_embeddings(), visual, plan)
    grids = torch.tensor([list(box.grid) for box in batch["boxes"]])
    counts = torch.tensor([model.video_tower.count(box) for box in batch["boxes"]])
    return {
        "out/attention_mask": plan["mask"],
        "out/labels": plan["labels"],
        "out/embeds_first8": embeds[..., :8],
        "out/embeds_mean": mean_last(embeds),
        "out/patch_hw": grids.unflatten(0, (len(ids), -1)),
        "out/token_lens": counts.unflatten(0, (len(ids), -1)),
    }


def run_alignment(case: Case) -> dict[str, Any]:
    """Kind alignment_loss, from given hidden states."""
    model = model_of(case)
    given = list(case.tensor("in/input_ids"))
    ids = [row[mask] for row, mask in zip(given, pad(given, given, max_length=len(given[0]))[2], strict=True)]
    source = case.other(case.json["teacher_frames_from"].split()[0])
    batch = batch_of(model, source, ids, ids)
    hidden = case.tensor("in/all_hidden_states").float().requires_grad_()
    teacher = model.teacher_features(batch).flatten(0, 1)
    head = model.video_tower_compressor
    seen = hidden[:, : batch["plan"]["mask"].shape[1]]
    loss = alignment_loss(head, seen.unbind(2), teacher, batch["plan"], layers=model.layers)
    named = dict(head.named_parameters())
    own, *grads = torch.autograd.grad(loss, [hidden, *named.values()])
    return {
        "out/loss": loss,
        "json:value": loss.item(),
        "grad/in.all_hidden_states_abs_sum_per_layer": abs_sum(own, (1, 3)),
        "grad/in.all_hidden_states_layer_last": own[:, :, -1],
        **{f"grad/{HEAD}{name}": grad for name, grad in zip(named, grads, strict=True)},
    }


def run_eval_generate(case: Case) -> dict[str, Any]:
    """Kind model_eval_generate: the whole prompt's logits, then greedy answers without and with a stop id."""
    model = model_of(case).eval()
    ids = case.tensor("in/input_ids")[0]
    whole = batch_from(model, [case.tensor("in/frames")], [], [ids], [ids])
    with torch.no_grad():
        logits = model.lm.lm_head(model.states(whole)[-1])
    row = ids.tolist()
    cut = prefix_length(row)
    batch = batch_from(model, [case.tensor("in/frames")], [], [ids[:cut]], [ids[:cut]])
    batch |= {
        "owner": torch.tensor([0]),
        "question_ids": ids[None, cut:],
        "question_mask": torch.tensor([[True for _ in row[cut:]]]),
        "tokenizer": None,
    }
    steps = len(case.json["new_ids"])
    [made] = model.generate_ids(batch, max_new_tokens=steps)
    [stopped] = model.generate_ids(batch | {"eos_id": case.json["eos_id_second_run"]}, max_new_tokens=steps)
    return {
        "out/logits_last24": logits[:, -24:],
        "out/logits_mean": mean_last(logits),
        "out/generated_ids": [[*row, *made]],
        "out/generated_ids_stop": [[*row, *stopped]],
        "json:new_ids": made,
    }


def run_real_size(case: Case) -> dict[str, Any]:
    """Kind stab_real_size: the released size with weights and pictures by formula."""
    shapes = case.json["key_shapes"]
    tower = Stab(dropout=0.0).eval()
    mlp = projector(shapes["video_tower.class_embedding"][0], shapes["video_projector.2.bias"][0]).eval()
    formula = ParameterFormula(case.json["parameter_formula"])
    weights = formula.weights(shapes)
    tower.load_state_dict(part(weights, "video_tower."))
    mlp.load_state_dict(part(weights, "video_projector."))
    clip = clip_by_formula(case.json["input_formula"])
    boxes = boxes_of(clip[:, 3], patch_px=tower.patch_px)
    with torch.no_grad():
        tokens = project_tokens(tower, mlp, clip[:, :3], boxes, clips=[len(clip)])
    tokens = tokens.unflatten(0, (len(clip), -1))
    keys = {f"video_tower.{name}": list(one.shape) for name, one in tower.state_dict().items()}
    keys |= {f"video_projector.{name}": list(one.shape) for name, one in mlp.state_dict().items()}
    return {
        "out/patch_hw": [list(box.grid) for box in boxes],
        "out/token_mean": mean_last(tokens),
        "out/token_sq_mean": square_mean_last(tokens),
        "out/tokens_first32ch": tokens[..., :32],
        "json:key_shapes": keys,
        "json:n_params": {
            "video_tower": count_parameters(tower.parameters()),
            "video_projector": count_parameters(mlp.parameters()),
            "of_which_unused_lmhra2": count_parameters(tower.lmhra2.parameters()),
        },
    }
