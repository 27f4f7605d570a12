"""Reference cases of ViLA around the model: frames, pictures, texts, rates, scores, files."""

from __future__ import annotations

from typing import Any

import torch
from refcases.case import Case
from refcases.vila_sizes import frame_sizes, layer_count, tower_sizes

from vidalign.common.errors import MediaError
from vidalign.common.rng import generator
from vidalign.config.schema import OptimizerConfig
from vidalign.media.sampling import all_exist, interval_frames
from vidalign.media.transforms import as_decoded, crop_resize, normalize_clip, to_bytes
from vidalign.models.vila import prompts
from vidalign.models.vila.annotations import frame_seconds, processed_rows, read_row
from vidalign.models.vila.config import LoRAConfig, ViLAConfig, ViLALoRAConfig, ViLAOriConfig
from vidalign.models.vila.frame_prompter import annealed_temperature
from vidalign.models.vila.keys import (
    official_checkpoint,
    official_counts,
    official_layout,
    official_state,
    official_trainable,
)
from vidalign.models.vila.merge import merge_teacher
from vidalign.models.vila.model import ViLA
from vidalign.models.vila.sizes import SIZES, Dims
from vidalign.runners.optim import build_optimizer
from vidalign.runners.schedules import lavis_warmup_cosine, lavis_warmup_step, position
from vidalign.scoring.official_vila import frame_metrics, result_rows, video_qa_metrics


def run_frame_sampling(case: Case) -> dict[str, Any]:
    """Middle frames and seeded random ones; a case in which the official code fails says so."""
    result: dict[str, Any] = {}
    for number, one in enumerate(case.json["cases"]):
        length, wanted, place = one["vlen"], one["n_frms"], f"json:cases/{number}"
        settings = {"fps": one["fps"], "span": one["clip"]}
        middle = interval_frames(length, wanted, **settings)
        result |= {f"{place}/uniform": middle, f"{place}/assert_len_ok": all_exist(middle, length, wanted)}
        for name in one:
            if name.startswith("random_seed"):
                draw = generator(int(name.removeprefix("random_seed")))
                result[f"{place}/{name}"] = random_frames(length, wanted, draw, settings)
    return result


def random_frames(length: int, wanted: int, draw: Any, settings: dict[str, Any]) -> list[int] | str:
    """The indices, or what the case writes where the official code fails."""
    try:
        return interval_frames(length, wanted, draw=draw, **settings)
    except MediaError:
        return "error: IndexError"


def run_video_transform(case: Case) -> dict[str, Any]:
    """Clips are (3, T, H, W) in the case, (T, 3, H, W) in the package."""
    clip, size = case.tensor("in/clip").byte(), case.json["hyper"]["image_size"]
    frames = as_decoded(clip.movedim(0, -1), image_px=size)
    result = {"out/eval_transform": normalize_clip(frames).transpose(0, 1)}
    for number, box in enumerate(case.json["hyper"]["boxes"]):
        resized = crop_resize(frames, tuple(box), image_px=size)
        whole = to_bytes(resized, wrap=True)
        result |= {
            f"out/box{number}_float": resized.transpose(0, 1),
            f"out/box{number}_uint8": whole.transpose(0, 1),
            f"out/box{number}_train_transform": normalize_clip(whole).transpose(0, 1),
        }
    return result


def run_preprocess(case: Case) -> dict[str, Any]:
    """Raw rows of each benchmark to processed ones; the case's val and test files have its first rows."""
    result: dict[str, Any] = {}
    for name, one in case.json["datasets"].items():
        raw = one["raw_train"]["rows"]
        splits = {"processed_train": raw, "processed_val": raw, "processed_test": hidden(raw)}
        for split in splits:
            if split in one:
                folders, rows = one["raw_train"].get("map_vid_vidorID"), splits[split][: len(one[split])]
                result[f"json:datasets/{name}/{split}"] = processed_rows(name, rows, folders=folders)
    return result


def hidden(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows as a test split has them: without windows."""
    return [{name: value for name, value in row.items() if name != "relevant_windows"} for row in rows]


def run_prompts(case: Case) -> dict[str, Any]:
    """A processed row as the texts of the official loader; roots have stand-in names."""
    result: dict[str, Any] = {}
    for number, one in enumerate(case.json["items"]):
        seconds = frame_seconds(one["frame_indices_used"], one["fps_used"])
        roots = {"root": "ROOT", "vlep_root": "<VLEP_DIR>", "tvqa_root": "<TVQA_DIR>"}
        item = read_row(one["annotation"], frame_seconds=seconds, **roots)
        result |= {
            f"json:items/{number}/qa_input": item.qa_input,
            f"json:items/{number}/loc_input": item.loc_input,
            f"json:items/{number}/qa_output": item.qa_output,
            f"json:items/{number}/question_id": item.question_id,
            f"json:items/{number}/duration": item.duration,
            # The rule for durations covers the input's as well.
            f"json:items/{number}/annotation/duration": one["annotation"].get("duration"),
            f"json:items/{number}/video_path": item.video_path,
            f"json:items/{number}/clip": None if item.clip is None else list(item.clip),
        }
    for name, texts in case.json.items():
        if name.startswith("blip_question_max"):
            words = int(name.removeprefix("blip_question_max"))
            result[f"json:{name}"] = {text: prompts.cleaned(text, max_words=words) for text in texts}
    return result


def run_schedules(case: Case) -> dict[str, Any]:
    """Rates at (epoch, step), and the temperature."""
    result: dict[str, Any] = {}
    for number, one in enumerate(case.json["lr"]):
        config = one["config"]
        common = {
            "peak": config["init_lr"],
            "min_lr": config["min_lr"],
            "warmup_lr": config["warmup_start_lr"],
            "warmup_steps": config["warmup_steps"],
            # Longer than any step asked for.
            "iterations_per_epoch": 1000000,
        }
        points = [position(epoch, step, common["iterations_per_epoch"]) for epoch, step in one["points_epoch_step"]]
        for name in one:
            place = f"json:lr/{number}/{name}"
            if name == "linear_warmup_cosine_lr":
                settings = common | {"epochs": config["max_epoch"]}
                result[place] = [lavis_warmup_cosine(point, **settings) for point in points]
            elif name.startswith("linear_warmup_step_lr"):
                decay = {"decay_rate": float(name.removeprefix("linear_warmup_step_lr_decay"))}
                result[place] = [lavis_warmup_step(point, **common, **decay) for point in points]
    for number, one in enumerate(case.json["temperature"]):
        point = position(one["epoch"], one["step"], one["len_epoch"])
        result[f"json:temperature/{number}/temp"] = annealed_temperature(point, one["len_epoch"])
    return result


def run_optimizer_groups(case: Case) -> dict[str, Any]:
    """Groups of all that the official code flags trainable, at the case's number of layers."""
    first = case.json["groups"][0]
    names = [name for group in case.json["groups"] for name in group["params"]]
    tiny = vars(SIZES["tiny"]) | {"qformer_depth": layer_count(names, "Qformer.bert.encoder.layer.")}
    model = ViLA.build(Dims(**tiny), ViLAConfig(size="tiny", num_frames=4, frames_kept=2))
    config = OptimizerConfig(weight_decay=first["weight_decay"], no_decay="lavis", betas=first["betas"])
    named = official_trainable(model)
    optimizer = build_optimizer(named, config, lr=first["lr"])
    by_id = {id(one): name for name, one in named.items()}
    groups = [
        {name: list(value) if isinstance(value, tuple) else value for name, value in group.items() if name in first}
        | {"params": [by_id[id(one)] for one in group["params"]]}
        for group in optimizer.param_groups
    ]
    return {"json:groups": groups}


def run_metrics(case: Case) -> dict[str, Any]:
    """Official scores from rows, and the rows from what the model returns."""
    result: dict[str, Any] = {
        f"json:videoqa/{number}/metrics": video_qa_metrics(one["results"])
        for number, one in enumerate(case.json["videoqa"])
    }
    result["json:moment_retrieval/metrics"] = frame_metrics(case.json["moment_retrieval"]["results"])
    given = case.json["valid_step"]["generate"]
    rows = result_rows(given["answer"], given["qid"], given["output_text"], given.get("frame_idx"))
    return result | {"json:valid_step/rows": rows}


def run_checkpoint_keys(case: Case) -> dict[str, Any]:
    """What a checkpoint in the official layout holds, for each variant."""
    result: dict[str, Any] = {}
    for name, wanted in case.json["files"].items():
        shapes = wanted["model_keys"]
        found = frame_sizes(shapes)
        common = {"size": "tiny", "num_frames": found["num_frames"]}
        config: Any = ViLAOriConfig(**common)
        if found["rank"]:
            lora = LoRAConfig(rank=found["rank"])
            config = ViLALoRAConfig(**common, frames_kept=found["frames_kept"], lora=lora)
        elif found["frames_kept"]:
            config = ViLAConfig(**common, frames_kept=found["frames_kept"])
        model = ViLA.build(Dims(**tower_sizes(shapes)), config)
        file = official_checkpoint(official_state(model), optimizer={}, epoch=wanted["epoch"])
        result[f"json:files/{name}"] = {
            "top_level": list(file),
            "epoch": file["epoch"],
            "model_keys": {key: list(value.shape) for key, value in file["model"].items()},
        }
    return result


def run_re_weight(case: Case) -> dict[str, Any]:
    """Student and teacher merged."""
    tensors = case.group("in")
    student, teacher = (
        {name.removeprefix(f"{who}/"): value for name, value in tensors.items() if name.startswith(f"{who}/")}
        for who in ("student", "teacher")
    )
    merged, _ = merge_teacher(student, teacher)
    return {f"out/{name}": value for name, value in merged.items()} | {"json:output_keys": list(merged)}


def run_real_size(case: Case) -> dict[str, Any]:
    """Every name, shape and kind at real size, without memory."""
    configs = {"vila": ViLAConfig(), "vila_ori": ViLAOriConfig(), "vila_lora": ViLALoRAConfig()}
    result: dict[str, Any] = {}
    for name, config in configs.items():
        with torch.device("meta"):
            model = ViLA.build(SIZES["flant5xl"], config)
        result |= {f"json:{name}": official_layout(model), f"json:{name}_counts": official_counts(model)}
    return {place: value for place, value in result.items() if place.removeprefix("json:") in case.json}


KINDS = {
    "frame_sampling": run_frame_sampling,
    "video_transform": run_video_transform,
    "preprocess": run_preprocess,
    "prompts": run_prompts,
    "schedules": run_schedules,
    "optimizer_groups": run_optimizer_groups,
    "metrics": run_metrics,
    "checkpoint_keys": run_checkpoint_keys,
    "re_weight": run_re_weight,
    "state_dict_real_size": run_real_size,
}
