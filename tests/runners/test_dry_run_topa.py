"""Every recipe of TOPA through --dry-run at its real size, over made data folders."""

import json
from pathlib import Path

import pytest
import torch
from tiny_nextqa import make_nextqa

from vidalign.config.load import load
from vidalign.runners.dry_run import dry_run

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "topa"
PUBLISHED = sorted(
    path for path in CONFIGS.glob("*.yaml") if load(path, allow_missing=True).model.size.startswith("llama")
)
TRAINED = {"llama2_7b": "9,742,336 trained", "llama2_13b": "14,226,560 trained", "llama3_8b": "9,742,336 trained"}


def make_star(root):
    choices = [{"choice_id": k, "choice": f"c{k}"} for k in range(4)]
    row = {"video_id": "v", "start": 0, "end": 3, "question": "what", "choices": choices, "answer": "c1"}
    for split in ("train", "val"):
        (root / f"STAR_{split}.json").write_text(json.dumps([{**row, "question_id": "Interaction_T1_1"}]))


def make_tvqa(root):
    row = {"vid_name": "v", "q": "what", "answer_idx": 0, "ts": "0-3", **{f"a{k}": str(k) for k in range(5)}}
    for split in ("train", "val"):
        (root / f"tvqa_{split}.jsonl").write_text(json.dumps(row) + "\n")


def make_egos(root):
    row = {"q_uid": "v", "question": "What", **{f"option {k}": str(k) for k in range(5)}}
    (root / "questions.json").write_text(json.dumps([row]))
    (root / "subset_answers.json").write_text(json.dumps({"v": 1}))


def make_textvid(root):
    qa = {"question": "what", "options": list("abcde"), "answer": "A"}
    item = {"idx": "v", "frames": [{"caption": "a"}], "QAs": [qa], "global_video_caption": "all"}
    (root / "textvid.json").write_text(json.dumps([item]))
    torch.save(torch.zeros(2, 768), root / "memory.pkl")


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    make_nextqa(root / "nextqa", dim=768)
    for name, make in {"star": make_star, "tvqa": make_tvqa, "egos": make_egos, "textvid": make_textvid}.items():
        (root / name / "features").mkdir(parents=True)
        make(root / name)
        torch.save({"v": torch.zeros(4, 768)}, root / name / "clipvitl14.pth")
        torch.save(torch.zeros(4, 768), root / name / "features" / "v.pkl")
    return root


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_recipe(path, data_root):
    options = [f"paths.data_root={data_root}", f"paths.cache={data_root}/cache", "run.checkpoint=null"]
    experiment = load(path, [*options, "model.llm.format=random", "model.llm.path=null"])
    report = dry_run(experiment)
    assert TRAINED[experiment.model.size] in report
    assert report.count("data   ") >= 1 and " 0 samples" not in report
