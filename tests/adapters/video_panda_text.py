"""Reference cases of Video-Panda's data side: frames, prompts, labels, sampler, schedule, groups, names, judges."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from adapters.video_panda_models import WEIGHTS, bare_model
from refcases.case import Case
from refcases.formulas import picture_by_formula
from refcases.summaries import centre, describe, mean_rows_and_columns, same, valid_range

from vidalign.data.length_sampler import grouped_order
from vidalign.media.sampling import one_per_second, second_marks
from vidalign.models.video_panda.boxes import halved
from vidalign.models.video_panda.build import freeze, start_values
from vidalign.models.video_panda.frames import make_clip, masks, pixels
from vidalign.models.video_panda.groups import optimizer_groups
from vidalign.models.video_panda.keys import ALIASES, left_at_start, official_shapes, our_name, own_tensors, places
from vidalign.models.video_panda.prompts import (
    chat,
    label,
    official_model_name,
    pad,
    question_prompt,
    rewritten,
    stop_ids,
    stops,
    tokenize,
)
from vidalign.models.video_panda.splice import IGNORE
from vidalign.runners.schedules import run_steps, updates, warmup_cosine_whole, whole_warmup_steps
from vidalign.scoring.judge import OFFICIAL_JUDGE, Item, official_summary, stored_reply
from vidalign.text.chat_tokens import ChatTokenizer
from vidalign.text.tokenizers import load_tokenizer

CLIP = {"side": 16, "patch_px": 14}
FLIPS = {"noflip": (False, False), "flip_student_only": (True, False), "flip_teacher_only": (False, True)}


def run_frame_sampling(case: Case) -> dict[str, Any]:
    """Kind frame_sampling. Where the official code raises, ours goes on; nothing is compared there."""
    rows = []
    for row in case.json["rows"]:
        n, m, fps = row["total_frames"], row["num_frames"], row["fps"]
        used = one_per_second(n, m, fps=fps)
        found = {"decoded_indices": second_marks(n, m, fps), "used_indices": used, "n_returned": len(used)}
        rows.append({key: value for key, value in found.items() if key in row})
    return {f"json:rows/{number}/{key}": value for number, row in enumerate(rows) for key, value in row.items()}


def run_preprocess(case: Case) -> dict[str, Any]:
    """Kind preprocess: letter box, border, normalisation, flips; student and teacher."""
    given = case.json
    indices = one_per_second(given["total_frames"], 8, fps=given["fps"])
    frames = [
        torch.from_numpy(picture_by_formula(given["what"], index, width=given["width"], height=given["height"]))
        for index in indices
    ]
    result: dict[str, Any] = {"json:indices": indices, "json:n_real_frames": len(indices)}
    for name, (student, teacher) in FLIPS.items():
        clip = make_clip(torch.stack(frames).numpy(), num_frames=8, student_flip=student, teacher_flip=teacher, **CLIP)
        real = torch.tensor([not box.empty for box in clip.boxes])
        for part, pictures in (("frames", clip.student), ("frames_teacher", clip.teacher)):
            shown = pixels(pictures, real)
            rows, columns = mean_rows_and_columns(shown)
            result |= {f"out/{name}_{part}_rowmean": rows, f"out/{name}_{part}_colmean": columns}
            if name == "noflip":
                result[f"out/noflip_{part}_frame1_center"] = centre(
                    shown[1], of=case.tensor(f"out/noflip_{part}_frame1_center")
                )
    large = masks(clip.boxes, side=32, patch_px=CLIP["patch_px"])
    small = masks(tuple(halved(box) for box in clip.boxes), **CLIP)
    for part, mask in (("frames", large), ("frames_teacher", small)):
        rows, columns = mean_rows_and_columns(mask)
        result |= {f"out/{part}_mask_row": rows, f"out/{part}_mask_col": columns}
    valid = valid_range(small[0])
    evaluated = make_clip(torch.stack(frames).numpy(), num_frames=8, teacher=False, **CLIP)
    trained = make_clip(torch.stack(frames).numpy(), num_frames=8, **CLIP)
    return result | {
        "json:teacher_valid_rows": valid[0],
        "json:teacher_valid_cols": valid[1],
        "json:evaluation_equals_training_noflip": same(evaluated.student, trained.student),
    }


def chat_tokenizer(case: Case, legacy: bool) -> ChatTokenizer:
    """The case's SentencePiece file with one setting of the flag."""
    return ChatTokenizer(load_tokenizer(case.file(case.json["tokenizer"].split()[0])), legacy=legacy)


def run_text(case: Case) -> dict[str, Any]:
    """Kind text_preprocess_and_labels, and the padded batch of every template and tokenizer."""
    samples = {sample["id"]: sample for sample in case.json["samples"]}
    results, batches = [], {}
    for row in case.json["results"]:
        sample, tokenizer = samples[row["id"]], chat_tokenizer(case, row["legacy_tokenizer"])
        visual = "video" in sample or "image" in sample
        turns = sample["conversations"]
        texts = rewritten(turns, num_frames=case.json["num_frames"], visual=visual)
        prompt = chat(turns, texts, template=row["template"])
        ids = tokenize(prompt, tokenizer)
        labels = label(prompt, ids, tokenizer)
        results.append(
            {
                "has_visual": visual,
                "rewritten_turns": texts,
                "prompt": prompt,
                "input_ids": ids,
                "labels": labels,
                "all_labels_masked": set(labels) == {IGNORE},
            }
        )
        name = f"collate_{row['template']}_legacy{1 if row['legacy_tokenizer'] else 0}"
        batches.setdefault(name, []).append((torch.tensor(ids), torch.tensor(labels)))
    found = {f"json:results/{n}/{key}": value for n, row in enumerate(results) for key, value in row.items()}
    for name, rows in batches.items():
        ids, labels, mask = pad(*zip(*rows, strict=True), max_length=case.json["collate_model_max_length"])
        found |= {f"out/{name}_input_ids": ids, f"out/{name}_labels": labels, f"out/{name}_attention_mask": mask}
    return found


def run_eval_prompt(case: Case) -> dict[str, Any]:
    """Kind text_eval_prompt."""
    found: dict[str, Any] = {}
    for number, row in enumerate(case.json["results"]):
        prompt = question_prompt(row["question"], num_frames=case.json["num_frames"])
        ids = tokenize(prompt, chat_tokenizer(case, row["legacy_tokenizer"]))
        found |= {f"json:results/{number}/prompt": prompt, f"json:results/{number}/input_ids": ids}
    tokenizer = chat_tokenizer(case, True)
    found |= {
        f"json:stopping/{number}/stop": stops(row["new_ids"], tokenizer)
        for number, row in enumerate(case.json["stopping"])
    }
    names = {path: official_model_name(path) for path in case.json["model_name_from_path"]}
    return found | {"json:stop_keyword_ids": [stop_ids(tokenizer)], "json:model_name_from_path": names}


def run_sampler(case: Case) -> dict[str, Any]:
    """Kind length_grouped_sampler."""
    return {
        f"json:rows/{number}/indices": grouped_order(
            row["lengths"],
            batch_size=row["batch_size"],
            world=row["world_size"],
            seed=row["torch_seed"],
        )
        for number, row in enumerate(case.json["rows"])
    }


def run_schedule(case: Case) -> dict[str, Any]:
    """Kind lr_schedule: one epoch of single steps."""
    found: dict[str, Any] = {}
    for number, row in enumerate(case.json["rows"]):
        steps = run_steps(row["samples"], row["global_batch"])
        rate = partial(
            warmup_cosine_whole,
            peak=row["base_lr"],
            min_lr=0.0,
            warmup_epochs=row["warmup_ratio"],
            epochs=1,
            iterations_per_epoch=steps,
        )
        asked = updates(rate, epochs=1, iterations_per_epoch=steps, accumulate=1)
        rates = {step: asked[int(step)][2] for step in row["lr_at"]}
        found |= {
            f"json:rows/{number}/lr_at": rates,
            f"json:rows/{number}/steps": steps,
            f"json:rows/{number}/warmup_steps": whole_warmup_steps(row["warmup_ratio"], steps),
        }
    return found


def run_param_groups(case: Case) -> dict[str, Any]:
    """Kind param_groups; the rates are those of the case's groups."""
    stages = {}
    for stage, groups in case.json["stages"].items():
        model = bare_model(case.other(WEIGHTS))
        freeze(model, stage, torch.float32)
        rates = [group["lr"] for group in groups]
        apart = len(groups) > 2
        made = optimizer_groups(model, base=rates[0], tower=rates[1], projector=rates[-1] if apart else None)
        stages[stage] = [
            {"lr": group.lr, "weight_decay": groups[0]["weight_decay"], "names": list(group.names)} for group in made
        ]
    return {"json:stages": stages}


def run_mapping(case: Case) -> dict[str, Any]:
    """Kind eve_checkpoint_mapping: destinations by name, and what stays at its start values, freshly drawn."""
    model = bare_model(sizes_of_file(case))
    start_values(model)
    known = official_shapes(model, teacher=None)
    mapping = {name: places(name, known) for name in case.json["mapping"]}
    values = own_tensors(model)
    found = {name: describe(values[our_name(name)]) for name in left_at_start(case.json["mapping"], model)}
    return {"json:mapping": mapping, "json:keys_left_at_initialisation": found}


def sizes_of_file(case: Case) -> Case:
    """The sizes of the tiny model, as far as the file's names and shapes do not say others."""
    source, names = case.other(WEIGHTS), case.json["mapping"]
    width = case.json["keys_left_at_initialisation"]["model.video_tower.balance"]["shape"][0]
    layers = {name.split(".")[2] for name in names if name.startswith("model.layers.")}
    states = {name.split(".")[3] for name in names if ".norm_layer." in name}
    source.json["stab"] |= {"n_dim": width, "n_head_gstra": 1}
    source.json["llm_config"] |= {"layers": len(layers)}
    source.json["compressor"] |= {"layer_idx": sorted(states)}
    return source


def run_weights(case: Case) -> dict[str, Any]:
    """Kind tiny_model_weights: every name of an official file, and which are second names."""
    model = bare_model(case)
    aliases = {f"{alias}*": f"{own}*" for alias, own in ALIASES.items()}
    return {"json:aliases": aliases, "json:all_official_keys": official_shapes(model, teacher=model.teacher)}


def run_judge_prompts(case: Case) -> dict[str, Any]:
    """Kind judge_prompts."""
    calls = {
        name: {"model": OFFICIAL_JUDGE, "messages": Item("", case.json["fields"], protocol=name).messages}
        for name in case.json["calls"]
    }
    return {"json:calls": calls}


def run_judge_parsing(case: Case) -> dict[str, Any]:
    """Kind judge_parsing; the item that is stored beside a reply is that of the case."""
    fields = next(row["stored"][1] for row in case.json["rows"] if row["stored"])
    rows = [stored_reply(row["reply"], fields) for row in case.json["rows"]]
    first = rows[: case.json["summary_over_first_n"]]
    return {
        **{f"json:rows/{number}/stored": stored for number, stored in enumerate(rows)},
        "json:summary": official_summary([stored for stored in first if stored]),
        "json:judge_model": OFFICIAL_JUDGE,
    }


KINDS = {
    "frame_sampling": run_frame_sampling,
    "preprocess": run_preprocess,
    "text_preprocess_and_labels": run_text,
    "text_eval_prompt": run_eval_prompt,
    "length_grouped_sampler": run_sampler,
    "lr_schedule": run_schedule,
    "param_groups": run_param_groups,
    "eve_checkpoint_mapping": run_mapping,
    "tiny_model_weights": run_weights,
    "judge_prompts": run_judge_prompts,
    "judge_parsing": run_judge_parsing,
}
