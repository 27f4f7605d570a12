"""Submission files: every chosen option under its native id, failures left out."""

import json

import pytest

from vidalign.common.errors import ConfigError
from vidalign.common.record import Record
from vidalign.common.sample import Media, Sample
from vidalign.scoring.submission import submission, write_submission


def test_egoschema():
    uids = ["egoschema/full/a/b", "egoschema/full/c"]
    samples = [Sample(uid=uid, dataset="egoschema", split="full", task="mc_qa", options=("x", "y")) for uid in uids]
    records = [Record(uid=uids[1], status="failed", reason="no video"), Record(uid=uids[0], pred_idx=1)]
    assert submission("answer_index", records, samples) == {"a/b": 1}
    with pytest.raises(ConfigError, match="answer_index"):
        submission("answer_indx", records, samples)


def test_files_that_servers_take(tmp_path):
    def sample(dataset, native, **values):
        values = {"task": "mc_qa", "options": ("x", "y")} | values
        return Sample(uid=f"{dataset}/test/{native}", dataset=dataset, split="test", **values)

    vlep = sample("vlep", "24981")
    [path] = [write_submission("vlep", [Record(uid=vlep.uid, pred_idx=1)], [vlep], folder=tmp_path, split="test")]
    assert path.name == "vlep_test_submission.jsonl" and json.loads(path.read_text()) == {
        "example_id": 24981,
        "pred_ans": 1,
    }
    assert write_submission("vlep", [], [], folder=tmp_path, split="val").name == "vlep_dev_submission.jsonl"
    star = [sample("star", "Sequence_T1_2", qtype="Sequence"), sample("star", "Feasibility_T2_9", qtype="Feasibility")]
    records = [Record(uid=star[0].uid, pred_idx=0), Record(uid=star[1].uid, status="failed", reason="x")]
    path = write_submission("star", records, star, folder=tmp_path, split="test")
    expected = {"Sequence": [{"question_id": "Sequence_T1_2", "answer": 0}], "Feasibility": []}
    assert path.name == "test_submission.json" and json.loads(path.read_text()) == expected
    media = Media(kind="video", video_id="v", duration_seconds=5.0)
    query = sample(
        "qvhighlights", "7", task="moment", options=(), question="q", media=media, clip_len=2.0, meta={"qid": 7}
    )
    [row] = submission("qvhighlights", [Record(uid=query.uid, windows=((0.0, 2.0, 0.5),))], [query])
    assert row == {
        "qid": 7,
        "query": "q",
        "vid": "v",
        "pred_relevant_windows": [[0.0, 2.0, 0.5]],
        "pred_saliency_scores": [0.0, 0.0],
    }
    failed = Record(uid=query.uid, status="failed", reason="no file")
    [row] = submission("qvhighlights", [failed], [query])
    assert row["pred_relevant_windows"] == [[0.0, 0.0, 0.0]], "the official evaluator needs one"
