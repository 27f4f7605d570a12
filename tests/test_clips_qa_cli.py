"""evaluate.py on open-ended questions over real videos: the answers are scored, offline and by a recorded judge."""

import json
import shutil

import pytest

from vidalign.config.load import load
from vidalign.registry import RUNNERS

VIDEO, QUESTIONS = "flipping_a_pancake", 2


@pytest.fixture(scope="module")
def folder(shared, tmp_path_factory):
    """Two of the questions, and their video."""
    root = tmp_path_factory.mktemp("clips_qa")
    questions = json.loads((shared / "data/clips/open_qa.json").read_text())
    asked = [row for row in questions if row["video_name"] == VIDEO][:QUESTIONS]
    assert len(asked) == QUESTIONS
    for name in ("videos", "clips"):
        (root / name).mkdir()
    shutil.copy(shared / "data/videos" / asked[0]["file"], root / "videos")
    (root / "clips/open_qa.json").write_text(json.dumps(asked))
    return root


def evaluate(folder, out, *options):
    common = [f"datasets.clips_qa.root={folder}", f"run.output_dir={out}", f"paths.cache={folder / 'cache'}"]
    common += ["run.num_workers=0", "run.device=cpu", "model.max_new_tokens=4"]
    experiment = load("configs/video_panda/clips_qa_eval.yaml", [*common, *options])
    RUNNERS.load(experiment.run.runner)(experiment).evaluate()
    return json.loads((out / "metrics.json").read_text())["clips_qa/val"]


def test_an_offline_and_a_recorded_judge_score_real_answers(folder, tmp_path, repository, monkeypatch):
    monkeypatch.chdir(repository)
    metrics = evaluate(folder, tmp_path / "offline")
    assert (metrics["samples"], metrics["failed"]) == (QUESTIONS, 0)
    assert metrics["judged_contained"] == QUESTIONS and metrics["accuracy_contained"] in (0.0, 0.5, 1.0)

    lines = (tmp_path / "offline/predictions/clips_qa/val.jsonl").read_text().splitlines()
    replies = ["{'pred': 'yes', 'score': 4.8}", "I cannot tell."]
    said = [
        {"uid": json.loads(line)["uid"], "reply": reply, "source": "judge-1"}
        for line, reply in zip(lines, replies, strict=True)
    ]
    path = tmp_path / "replies.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in said))
    recorded = evaluate(folder, tmp_path / "recorded", "task.judge.name=recorded", f"task.judge.path={path}")
    assert recorded["accuracy_recorded-judge-1"] == 1.0 and recorded["score_recorded-judge-1"] == 4.0
    assert recorded["judged_recorded-judge-1"] == recorded["unparsed_recorded-judge-1"] == 1
