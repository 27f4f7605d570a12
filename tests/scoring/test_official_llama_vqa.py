"""The official evaluation meters on the reference scores, STAR's and NExT-QA's."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file

from vidalign.backbones.option_scores import mean_token_loss
from vidalign.scoring.official_llama_vqa import OfficialMeters, predictions, result_rows


def test_reference_meters_and_rows(shared):
    folder = shared / "reference/bovila"
    case = json.loads((folder / "eval_loop_star.json").read_text())
    tensors = load_file(folder / "eval_loop_star.safetensors")
    meters, columns = OfficialMeters("star"), {"predicted": [], "answers": [], "qtypes": [], "uncertainty": []}
    for number in range(len(case["vid"])):
        batch = {name: tensors[f"in/batch{number}/{name}"] for name in ("token_ce", "u", "answer", "qtype")}
        chosen = predictions(mean_token_loss(batch["token_ce"]))
        assert chosen.tolist() == tensors[f"out/batch{number}/prediction"].tolist()
        meters.update(chosen, batch["answer"], batch["qtype"])
        columns["predicted"] += chosen.tolist()
        columns["answers"] += batch["answer"].tolist()
        columns["qtypes"] += batch["qtype"].tolist()
        columns["uncertainty"] += batch["u"].gather(1, chosen[:, None])[:, 0].tolist()
    expected = {name: value for name, value in case["stats"].items() if name != "lr"}
    assert meters.averages() == pytest.approx(expected, abs=1e-12)
    rows = result_rows(videos=sum(case["vid"], []), question_ids=sum(case["qid"], []), **columns)
    assert rows == case["result_json"]


def test_equal_rows_are_written_once():
    same = {"videos": ["v", "v", "w"], "question_ids": [1, 1, 2], "qtypes": [1, 1, 3], "predicted": [0, 0, 1]}
    rows = result_rows(**same, answers=[2, 2, 1], uncertainty=[0.5, 0.5, 0.25])
    assert rows == [
        {"vid": "v", "qid": 1, "qtype": "CH", "pre": "A", "ans": "C", "u": 0.5},
        {"vid": "w", "qid": 2, "qtype": "TN", "pre": "B", "ans": "B", "u": 0.25},
    ]


def test_zero_and_nan_options():
    token_ce = torch.tensor([[[2.0, 0.0, 0.0], [1.0, 3.0, 0.0], [0.0, 0.0, 0.0]]])
    scores = mean_token_loss(token_ce)
    assert scores[0, :2].tolist() == [2.0, 2.0] and scores[0, 2].isnan()
    assert predictions(scores).tolist() == [2]
    assert predictions(scores[:, :2]).tolist() == [0]


def test_nextqa_groups_and_a_type_that_never_occurs():
    meters = OfficialMeters("nextqa")
    meters.update(torch.tensor([0, 1, 2]), torch.tensor([0, 0, 2]), torch.tensor([1, 2, 5]))
    meters.update(torch.tensor([3]), torch.tensor([3]), torch.tensor([4]))
    averages = meters.averages()
    assert averages["C"] == pytest.approx(1 / 2) and averages["T"] == pytest.approx(1.0)
    assert math.isnan(averages["D"])
    assert averages["acc"] == 3 / 4
    assert averages["Total"] == pytest.approx(3 / 4)
