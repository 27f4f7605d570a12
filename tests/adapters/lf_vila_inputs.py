"""Reference cases of LF-VILA's inputs, recipes, weights files and metrics."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from adapters.lf_vila_models import architecture, pretrain_model
from adapters.lf_vila_parts import encoder_sizes
from refcases.case import Case
from torch import Tensor

from vidalign.config.schema import OptimizerConfig
from vidalign.data.sampler import padded_chunks
from vidalign.media.long_video import clip_frames, joint_frames, linspace_ends, spread
from vidalign.models.lf_vila.frames import eval_view, span_labels, train_view
from vidalign.models.lf_vila.heads import LFVilaAnswers, LFVilaMultipleChoice, LFVilaVideo
from vidalign.models.lf_vila.htwa import VideoEncoder
from vidalign.models.lf_vila.keys import change_window, load_bert, load_pretrained, swin_state, without_buffers
from vidalign.models.lf_vila.masking import mask_words
from vidalign.models.lf_vila.processor import TextRules
from vidalign.models.lf_vila.retrieval import LFVilaRetrieval
from vidalign.runners.lf_vila_schedules import lf_vila_cosine, lf_vila_linear, lf_vila_step
from vidalign.runners.optim import build_optimizer, trained_parameters
from vidalign.runners.schedules import updates
from vidalign.scoring.retrieval import rank_metrics, ranks_of
from vidalign.text.wordpiece import WordPiece

METRICS = ("R@1", "R@5", "R@10", "R@50", "MedR", "MeanR")


def run_frame_sampling(case: Case) -> dict[str, Any]:
    """Frames of whole videos and of clips, span labels, the order of evaluation samplers."""
    frames = case.json["hyper"]["sample_frame"]
    ends = zip(case.tensor("in/train_start").tolist(), case.tensor("in/train_end").tolist(), strict=True)
    result: dict[str, Any] = {
        "out/eval_indices": [linspace_ends(count, frames) for count in case.tensor("in/num_frames").tolist()],
        "out/train_indices": [spread(start, end, frames) for start, end in ends],
    }
    spans = zip(case.tensor("in/spans").tolist(), case.tensor("in/span_num_frames").tolist(), strict=True)
    labelled = [span_labels(None if span[0] == -1 else tuple(span), count, frames, fps=3.0) for span, count in spans]
    result["out/span_labels"] = torch.stack([labels for labels, _ in labelled])
    result["out/span_weights"] = torch.stack([weights for _, weights in labelled])
    for name in case.names:
        number = name.removeprefix("in/clip_frames")
        if number != name:
            counts = case.tensor(name).tolist()
            share = case.tensor(f"out/clip_indices{number}").shape[1]
            result[f"out/clip_indices{number}"] = [clip_frames(count, share) for count in counts]
            joint = joint_frames(counts, frames)
            result[f"out/nonuniform_counts{number}"] = [len(one) for one in joint]
            result[f"out/nonuniform_indices{number}"] = [index for one in joint for index in one]
        elif name.startswith("out/sequential_sampler_w"):
            world, samples = name.removeprefix("out/sequential_sampler_w").split("_n")
            result[name] = padded_chunks(int(samples), int(world))
    return result


def run_image_transforms(case: Case) -> dict[str, Any]:
    """Both views of each stack of frames."""
    hw, result = tuple(case.json["hyper"]["input_res"]), {}
    for name in case.names:
        if not name.startswith("in/frames"):
            continue
        number, frames = name.removeprefix("in/frames"), case.tensor(name)
        box = tuple(case.tensor(f"in/train_crop{number}").tolist())
        flip = bool(case.tensor(f"in/train_flip{number}"))
        result[f"out/val{number}"] = eval_view(frames, hw=hw).transpose(0, 1)
        result[f"out/train{number}"] = train_view(frames, hw=hw, box=box, flip=flip).transpose(0, 1)
    return result


def run_lr_schedules(case: Case) -> dict[str, Any]:
    """Rate after every update; a few past the end."""
    result: dict[str, Any] = {}
    for name, recipe in case.json["hyper"].items():
        training, length = recipe["TRAINING"], recipe["iters_per_epoch"]
        settings = {"peak": recipe["base_lr"], "warmup_lr": training["WARMUP_LR"]}
        settings |= {"warmup_epochs": training["WARMUP_EPOCHS"]}
        schedule, kind = training["LR_SCHEDULER"], training["LR_SCHEDULER"]["NAME"]
        if kind == "step":
            settings |= {"decay_rate": schedule["DECAY_RATE"], "decay_epochs": schedule["DECAY_EPOCHS"]}
            settings |= {"iterations_per_epoch": length}
            rule = lf_vila_step
        else:
            settings |= {"epochs": training["EPOCHS"]}
            settings |= {"min_lr": training["MIN_LR"]} if kind == "cosine" else {}
            rule = lf_vila_cosine if kind == "cosine" else lf_vila_linear
        count = len(case.tensor(f"out/{name}"))
        rows = updates(rate_of(rule, settings), epochs=count, iterations_per_epoch=length, accumulate=1)
        result[f"out/{name}"] = torch.tensor([rate for _, _, rate in rows[:count]], dtype=torch.float64)
    return result


def rate_of(rule: Any, settings: dict[str, Any]) -> Any:
    """position -> rate."""
    return lambda position: rule(position, **settings)


def run_retrieval_metrics(case: Case) -> dict[str, Any]:
    """Both directions of every matrix."""
    result: dict[str, Any] = {}
    for name in case.names:
        number = name.removeprefix("in/sim")
        if number == name:
            continue
        scores = case.tensor(name).numpy()
        for direction, table in (("t2v", scores), ("v2t", scores.T)):
            metrics = rank_metrics(ranks_of(table, range(len(table))))
            values = [metrics[key] for key in METRICS]
            result[f"out/metrics{number}_{direction}"] = torch.tensor(values, dtype=torch.float64)
    return result


def run_text_inputs(case: Case) -> dict[str, Any]:
    """Ids and masks of every dataset type, and masking with given draws."""
    hyper = case.json["hyper"]
    length = hyper["max_length"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.txt"
        path.write_text("\n".join(hyper["vocab"]), encoding="utf-8")
        tokenizer = WordPiece(path, lowercase=hyper["do_lower_case"])
        found = dataset_rows(case, tokenizer, length)
        maskable = tokenizer.maskable(case.tensor("in/mlm_ids"))
    seen, labels = mask_words(
        case.tensor("in/mlm_ids"),
        chosen=case.tensor("in/mlm_select").bool(),
        to_mask=case.tensor("in/mlm_to_mask_draw").bool(),
        to_random=case.tensor("in/mlm_random_draw").bool(),
        words=case.tensor("in/mlm_random_words"),
        mask_id=tokenizer.mask_id,
    )
    result = {"out/mlm_ids": seen, "out/mlm_labels": labels, "out/mlm_maskable": maskable}
    for name, rows in found.items():
        ids_name = name if name.startswith("retrieval_ids") or "few" in name else f"{name}_ids"
        mask_name = ids_name.replace("_ids", "_mask")
        result |= {f"out/{ids_name}": rows[0], f"out/{mask_name}": rows[1]}
    return result


def dataset_rows(case: Case, tokenizer: WordPiece, length: int) -> dict[str, tuple[Tensor, Tensor]]:
    """(ids, mask) by the case's name of a dataset type."""
    hyper = case.json["hyper"]
    paragraphs, subtitles = hyper["paragraphs"], hyper["subtitles"]
    pretrain = TextRules(tokenizer, length, clips=hyper["pretrain_uses_first_n_sentences"])
    how2qa = TextRules(tokenizer, length, subtitles=hyper["how2qa_max_num_subtitle"])
    violin = TextRules(tokenizer, length, subtitles=hyper["violin_max_num_subtitle"])
    few = [row for row in case.tensor("out/how2qa_mask_few")[0].tolist() if any(row)]
    found = {
        "pretrain": stacked([pretrain.clip_sentences(text) for text in paragraphs]),
        "retrieval_nosplit": stacked([pretrain.paragraph(text, split=False) for text in paragraphs]),
        "actnetqa": pretrain.question(hyper["question"]),
        "violin": violin.question(hyper["violin_statement"], subtitles),
        "how2qa": how2qa.options(hyper["question"], hyper["answers"], subtitles),
        "how2qa_ids_few": how2qa.options(hyper["question"], hyper["answers"], subtitles[: len(few[2:])]),
    }
    for name in case.names:
        chunk = name.removeprefix("out/retrieval_ids_chunk")
        if chunk != name:
            rules = TextRules(tokenizer, length, clips=int(chunk))
            found[f"retrieval_ids_chunk{chunk}"] = stacked([rules.paragraph(text) for text in paragraphs])
    return found


def stacked(rows: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """(ids, mask) of several samples."""
    return torch.stack([ids for ids, _ in rows]), torch.stack([mask for _, mask in rows])


def run_optimizer_groups(case: Case) -> dict[str, Any]:
    """Names per group of toy models, whose settings lie in the cases of these names."""
    result: dict[str, Any] = {}
    for stem, groups in case.json["groups"].items():
        model = model_of(case.other(stem))
        trained = trained_parameters(model)
        config = OptimizerConfig(weight_decay=groups[0]["weight_decay"], no_decay="lf_vila")
        stored = build_optimizer(trained, config, lr=0.1).state_dict()["param_groups"]
        wanted = [name for name, value in model.named_parameters() if value.requires_grad]
        result[f"json:groups/{stem}"] = [
            *({"weight_decay": group["weight_decay"], "names": group["param_names"]} for group in stored),
            {"not_optimised_although_trainable": [name for name in wanted if name not in trained]},
        ]
        result["out/n_groups"] = len(stored)
    return result


def model_of(case: Case) -> Any:
    """The model of another case, without its weights."""
    values = case.json["hyper"]["config"]
    size = case.json["hyper"]["video"]
    if case.kind.startswith("pretrain"):
        return pretrain_model(values, size)
    numbers, classes = architecture(values, size), values["DATA"].get("classification_labels", 2)
    if case.kind == "retrieval":
        return LFVilaRetrieval(numbers)
    if case.kind == "qa_multichoice":
        return LFVilaMultipleChoice(numbers)
    if case.kind == "qa_classification":
        return LFVilaAnswers(numbers, num_answers=classes)
    return LFVilaVideo(numbers, num_classes=classes)


def run_swin_inflation(case: Case) -> dict[str, Any]:
    """A 2D file in the 3D encoder."""
    encoder = VideoEncoder(encoder_sizes(case.json["hyper"]["VideoEncoder"]), drop_path_rate=0.0)
    state = swin_state(case.group("in/ckpt"), encoder)
    encoder.load_state_dict(state)
    return {f"out/{name}": value for name, value in encoder.state_dict().items()}


def run_change_window(case: Case) -> dict[str, Any]:
    """Bias tables in other temporal windows."""
    windows = tuple(tuple(window) for window in case.json["hyper"]["new_windows"])
    return {f"out/{name}": value for name, value in change_window(case.group("in"), windows).items()}


def run_stage1_to_stage2(case: Case) -> dict[str, Any]:
    """Which file each key of a stage-two model comes from.

    The files are made here: the case names their keys; in the BERT file every value is 1, in the stage-one file 2.
    """
    hyper, facts = case.json["hyper"], case.json["facts"]
    size = [1, hyper["stage2"]["DATA"]["sample_frame"], 24, 40]
    model = pretrain_model(hyper["stage2"], size)
    one = pretrain_model(hyper["stage1"], size)
    rows = case.tensor("in/model_segment_embeddings_before")
    model.load_state_dict({"sent_embedding.segment_embeddings.weight": rows}, strict=False)
    shapes = {name: value.shape for name, value in model.text_encoder.state_dict().items()}
    first = {name: value.clone() for name, value in model.state_dict().items()}
    bert = {name: torch.full(shapes.get(plain(name), (2,)), 1.25) for name in facts["bert_file_keys"]}
    load_bert(model, bert, where="BERT", rename_norms=False, partly=True)
    second = {name: value.clone() for name, value in model.state_dict().items()}
    own = model.state_dict() | one.state_dict()
    file = {name: torch.full(own[name].shape, 2.5) for name in facts["stage1_file_keys"] if name in own}
    file |= {name: torch.zeros(1) for name in facts["stage1_file_keys"] if name not in own}
    file["sent_embedding.segment_embeddings.weight"] = case.tensor("in/stage1_segment_embeddings")
    load_pretrained(model, file, where="stage one", partly=True)
    third = model.state_dict()
    equal = [name for name in without_buffers(file) if name in third and same(file[name], third[name])]
    buffers = [name for name in file if name not in without_buffers(file)]
    return {
        "out/segment_embeddings": third["sent_embedding.segment_embeddings.weight"],
        "json:facts/changed_by_bert_file": [name for name in first if not same(first[name], second[name])],
        "json:facts/equal_to_stage1_file": [*equal, *buffers],
        "json:facts/other_keys_changed_by_stage1_file": [
            name for name in third if name not in equal and not same(second[name], third[name])
        ],
        "json:facts/left_at_init": [name for name in third if same(first[name], third[name])],
    }


def plain(name: str) -> str:
    """A BERT file's name as it would be called today."""
    return name.replace(".gamma", ".weight").replace(".beta", ".bias")


def same(one: Tensor, two: Tensor) -> bool:
    """Equal shapes and values."""
    return one.shape == two.shape and bool((one.to(two.dtype) == two).all())
