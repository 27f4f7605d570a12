"""Reference cases of SeViLA: localizer, answerer, and QVHighlights pretraining.

The training cases hold texts, not token ids; refcases/toy_tokens.py has the tokenizer behind them.
"""

from __future__ import annotations

from typing import Any

import torch
from adapters.vila_models import dims_of, hyper_of, tower_dims
from refcases.case import Case
from refcases.toy_tokens import ToyTokens
from torch import Tensor

from vidalign.models.vila.config import SeViLAConfig
from vidalign.models.vila.prompts import LETTERS, answer_index
from vidalign.models.vila.sevila import SeViLA
from vidalign.tasks.config import MultipleChoiceConfig
from vidalign.tasks.multiple_choice import MultipleChoice

LETTER_IDS = [71, 272, 205, 309, 262]
NO_ID = 41


def sevila(case: Case, *, trains: str) -> SeViLA:
    """A model with the case's weights and settings."""
    hyper = hyper_of(case)
    weights = {name: value.float() if value.is_floating_point() else value for name, value in case.params.items()}
    config = SeViLAConfig(
        size="tiny",
        num_frames=case.tensor("in/video").shape[1],
        frames_kept=hyper.get("frame_num", 1),
        dropout=0.0,
        repetition_penalty=hyper.get("repetition_penalty", 1.0),
        trains=trains,
    )
    model = SeViLA.build(tower_dims(case, weights, suffix="_loc"), config)
    model.load_state(weights)
    return model


def batch_of(case: Case) -> dict[str, Any]:
    """The package's batch: ids where the case has them, else those of its texts."""
    hyper, inputs = hyper_of(case), case.group("in")
    no_id = hyper.get("no_id", NO_ID)
    answers = hyper.get("answer_num", len(LETTER_IDS))
    rows = len(inputs["video"])
    batch: dict[str, Any] = {
        "video": inputs["video"],
        "letter_ids": torch.tensor(LETTER_IDS[:answers]),
        "num_options": torch.full((rows,), answers),
        "uid": [str(row) for row in range(rows)],
        "yes_no_ids": torch.tensor([hyper["yes_id"], no_id]),
    }
    tokens = ToyTokens(dims_of(case)["t5_vocab"], {"yes": hyper["yes_id"], "no": no_id})
    batch["frame_prefix_ids"] = tokens.prefixes(["Frame :"])[0][0]
    if "text" in case.json:
        batch |= text_ids(case, tokens, hyper)
    names = {"loc": "loc", "qa": "prompt", "vid_prefix": "number"}
    for official, ours in names.items():
        if f"{official}_ids" in inputs:
            batch |= {f"{ours}_{part}": inputs[f"{official}_{part}"].long() for part in ("ids", "mask")}
    if "yesno_ids" in inputs:
        batch["yes_no_ids"] = inputs["yesno_ids"][:, 0].long()
    if "frame_prefix_ids" in inputs:
        batch["frame_prefix_ids"] = inputs["frame_prefix_ids"][0].long()
    return batch


def text_ids(case: Case, tokens: ToyTokens, hyper: dict[str, Any]) -> dict[str, Tensor]:
    """Ids and masks of a case's texts."""
    text, length = case.json["text"], {"max_length": hyper["max_txt_len"]}
    batch: dict[str, Tensor] = {}
    for official, ours in {"loc_input": "loc", "qa_input": "prompt", "qa_output": "target"}.items():
        if official in text and not (ours == "target" and "qa_input" not in text):
            pad = -100 if ours == "target" else 0
            batch[f"{ours}_ids"], batch[f"{ours}_mask"] = tokens.rows(text[official], pad=pad, **length)
    if "qa_input" in text:
        batch["answer_idx"] = torch.tensor([answer_index(answer) for answer in text["qa_output"]])
        numbers = [f"Frame {number} :" for number, _ in enumerate(range(hyper["frame_num"]), start=1)]
        batch["number_ids"], batch["number_mask"] = tokens.prefixes(numbers)
    else:
        labels = [[int(word == "yes") for word in answer.split("_")] for answer in text["qa_output"]]
        batch["frame_labels"] = torch.tensor(labels)
    return batch


def gradients(model: SeViLA, loss: Tensor) -> dict[str, Tensor]:
    """Of every parameter that has one."""
    loss.backward()
    return {f"grad/{name}": one.grad for name, one in model.named_parameters() if one.grad is not None}


def run_infer(case: Case) -> dict[str, Any]:
    """Localizer, then answerer; the task decides."""
    model, batch = sevila(case, trains="answerer").eval(), batch_of(case)
    batch["answer_idx"] = torch.tensor([-1 for _ in batch["uid"]])
    answers = model.answer(batch)
    scores = model.score_options(batch).scores
    records = MultipleChoice(MultipleChoiceConfig()).predict(model, batch)
    return {
        "out/yes_scores": answers.yes_BT,
        "out/frame_idx": answers.positions_BK,
        "out/answer_scores": scores,
        "out/prediction": [record.pred_idx for record in records],
        "out/qa_inputs_embeds": answers.embeds_BMD,
        "out/qa_attention_mask": answers.mask_BM,
    }


def run_train_answerer(case: Case) -> dict[str, Any]:
    """Answerer on the frozen localizer's frames."""
    model = sevila(case, trains="answerer").train()
    logits, loss = model.answerer_pass(batch_of(case))
    return gradients(model, loss) | {"out/loss": loss, "out/final_logits": logits}


def run_train_localizer(case: Case) -> dict[str, Any]:
    """Localizer on what the frozen answerer gets right from each frame."""
    model = sevila(case, trains="localizer").train()
    done = model.localizer_pass(batch_of(case))
    return gradients(model, done.loss) | {
        "out/loss": done.loss,
        "out/final_logits": done.logits_FLV,
        "out/answerer_frame_scores": done.answers_FA,
        "out/pseudo_label": done.labels_BT,
    }


def run_pretrain(case: Case) -> dict[str, Any]:
    """Yes or no per frame from windows; then the same question at evaluation."""
    model, batch = sevila(case, trains="localizer_pretraining").train(), batch_of(case)
    done = model.localizer_pass(batch)
    result = gradients(model, done.loss) | {"out/loss": done.loss, "out/logits": done.logits_FLV}
    no_yes, frames = model.eval().frame_answer(batch)
    return result | {
        "out/no_yes_logits": no_yes.flatten(0, 1),
        "out/yes_score": no_yes.flatten(0, 1)[:, 1],
        "out/pred": frames.flatten(),
    }


assert len(LETTER_IDS) == len(LETTERS)

KINDS = {
    "sevila_infer": run_infer,
    "sevila_train_answerer": run_train_answerer,
    "sevila_train_localizer": run_train_localizer,
    "qvh_localizer_pretrain": run_pretrain,
}
