"""Official evaluators: the numbers of real prediction files, and cases small enough to check by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vidalign.cli import main
from vidalign.common.errors import DataError
from vidalign.common.record import Record
from vidalign.common.sample import DatasetInfo, Media, Sample
from vidalign.runners.score import score
from vidalign.scoring import activitynet_qa, moments, multiple_choice_official
from vidalign.scoring.official import read_predictions

# key in expected_metrics.json, dataset, predictions, annotations
REAL = [
    ("nextqa_mc", "nextqa", "nextqa_mc/predictions_HGA_val.json", "nextqa_mc"),
    ("qvhighlights", "qvhighlights", "qvhighlights/sample_val_preds.jsonl", "qvhighlights"),
    ("vlep_dev", "vlep", "vlep/sample_dev_submission.jsonl", "vlep/vlep_dev_release.jsonl"),
    ("activitynet_qa_val", "activitynet_qa", "activitynet_qa/pred_val_example.json", "activitynet_qa/val_q.json"),
]


@pytest.mark.parametrize(("key", "dataset", "predictions", "annotations"), REAL, ids=[one[0] for one in REAL])
def test_expected_metrics_are_reproduced_exactly(key, dataset, predictions, annotations, shared, capsys) -> None:
    folder = shared / "data/annotations"
    expected = json.loads((folder / "expected_metrics.json").read_text())[key]
    command = [str(folder / predictions), "--dataset", dataset, "--annotations", str(folder / annotations), "--json"]
    assert main(["score", *command]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {name: found["official"][name] for name in expected} == expected
    assert found["predictions"] == "official" and found["split"] == "val"
    head = found["headline"]
    assert found["metrics"][f"{head}_low"] < found["metrics"][head] < found["metrics"][f"{head}_high"]


def test_published_full_evaluator_keys(shared: Path) -> None:
    theirs = json.loads(
        next((shared / "data/annotations/published_results").glob("qvhighlights_full_val*")).read_text()
    )
    ours = score(
        shared / "data/annotations/qvhighlights/sample_val_preds.jsonl",
        dataset="qvhighlights",
        annotations=shared / "data/annotations/qvhighlights/highlight_val_release.jsonl",
    ).official
    assert set(ours) == set(theirs) and set(ours["brief"]) == set(theirs["brief"])


def moment(qid: int, windows, saliency=(), clips=(), duration=20.0) -> Sample:
    return Sample(
        uid=f"qvhighlights/val/{qid}",
        dataset="qvhighlights",
        split="val",
        task="moment",
        media=Media(kind="video", video_id="v", duration_seconds=duration),
        windows=windows,
        saliency=saliency,
        clip_len=2.0,
        meta={"relevant_clip_ids": clips, "qid": qid},
    )


def test_moments_by_hand() -> None:
    samples = [moment(1, ((0.0, 10.0), (20.0, 60.0))), moment(2, ((0.0, 4.0),))]
    records = [
        Record(uid=samples[0].uid, windows=((20.0, 50.0, 0.9), (0.0, 10.0, 0.8), (0.0, 10.0, 0.7))),
        Record(uid=samples[1].uid, status="failed", reason="no video"),
    ]
    found = moments.official_numbers(records, samples)
    assert found["full"]["MR-R1"] | {} == {str(t): (50.0 if t <= 0.75 else 0.0) for t in moments.THRESHOLDS}, (
        "30 of 40 seconds overlap; the query without a window counts 0"
    )
    assert found["full"]["MR-mAP"]["0.5"] == 50.0 and found["full"]["MR-mAP"]["0.8"] == 12.5
    assert found["short"]["MR-R1"]["0.5"] == 0.0, "the short window is not the first"
    assert found["long"]["MR-mAP"]["0.5"] == 100.0
    assert "HL-min-Fair" not in found


def test_moments_that_are_not_numbers_count_as_failed() -> None:
    sample = moment(1, ((0.0, 10.0),))
    windows = ((0.0, 10.0, float("nan")), (20.0, 30.0, 0.5))
    found = moments.moment_metrics(
        [Record(uid=sample.uid, windows=windows)], [sample], DatasetInfo(name="x", task="moment")
    )
    assert (found["R1@0.5"], found["mAP"], found["failed"]) == (0.0, 0.0, 1)


def test_highlights_with_ties_and_missing_scores() -> None:
    truth = np.array([1.0, 0.0, 1.0, 0.0])
    assert moments.clip_average_precision(truth, [0.9, 0.1, 0.8, 0.2]) == 1.0
    assert moments.clip_average_precision(truth, [0.5, 0.5, 0.5, 0.5]) == 0.5, "equal scores are one step"
    assert moments.clip_average_precision(truth, [0.9]) == pytest.approx((1 + 0.5) / 2), "missing scores count 0"
    assert moments.clip_average_precision(np.zeros(4), [1, 2, 3, 4]) == 0.0
    assert moments.clip_average_precision(np.ones(4), []) == 1.0
    sample = moment(1, ((0.0, 4.0),), saliency=((4, 2, 0), (3, 3, 3)), clips=(0, 1), duration=8.0)
    [record] = [Record(uid=sample.uid, saliency=(0.1, 0.9, 0.2, 0.3))]
    found = moments.official_numbers([record], [sample])
    assert found["HL-min-VeryGood"]["HL-Hit1"] == 0.0 and found["HL-min-Good"]["HL-Hit1"] == 100.0
    beyond = moment(2, ((0.0, 4.0),), saliency=((4, 4, 4),), clips=(9,), duration=8.0)
    with pytest.raises(DataError, match="relevant_clip_ids reach 9"):
        moments.official_numbers([Record(uid=beyond.uid, saliency=(1.0,))], [beyond])


def questions(types: str) -> list[Sample]:
    return [
        Sample(uid=f"x/val/{i}", dataset="x", split="val", task="open_qa", answer="a", answers=("a",), qtype=kind)
        for i, kind in enumerate(types)
    ]


def test_both_denominators_of_free() -> None:
    samples = questions("3380111222")
    records = [Record(uid=sample.uid, pred_text="a") for sample in samples]
    found = activitynet_qa.official_numbers(records, samples)
    assert found["free_correct_denominator"] == 1.0
    assert found["free_official_denominator"] == 3 / 6, "their script drops types 3, 8, 0, which come first"
    ordered = questions("0012345")
    again = activitynet_qa.official_numbers([Record(uid=s.uid, pred_text="a") for s in ordered], ordered)
    assert again["free_official_denominator"] == 1.0
    wrong = [Record(uid=s.uid, pred_text="A" if s.qtype == "0" else None, status="ok") for s in ordered]
    assert activitynet_qa.official_numbers(wrong, ordered)["all_exact_match"] == 0.0, "no normalisation, no empty hit"


def choice(native: str, kind: str) -> Sample:
    uid = f"star/val/{native}"
    return Sample(uid=uid, dataset="star", split="val", task="mc_qa", options=tuple("abcd"), answer_idx=0, qtype=kind)


def test_star_macro_and_micro(tmp_path: Path) -> None:
    kinds = ["Interaction"] * 6 + ["Sequence"] * 2 + ["Prediction", "Feasibility"]
    samples = [choice(f"{kind}_T1_{i}", kind) for i, kind in enumerate(kinds)]
    rows: dict[str, list] = {}
    for i, sample in enumerate(samples):
        rows.setdefault(sample.qtype, []).append({"question_id": sample.uid[9:], "answer": 0 if i < 6 else 1})
    path = tmp_path / "star.json"
    path.write_text(json.dumps(rows))
    records, form = read_predictions(path, samples, dataset="star")
    assert form == "official"
    found = multiple_choice_official.star(records, samples)
    assert (found["Mean"], found["Total"], found["Interaction"], found["Sequence"]) == (25.0, 60.0, 100.0, 0.0)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"Interaction": [{"question_id": "Interaction_T1_9", "answer": 0}]}', "not among the 1 samples"),
        ('{"Interaction": [{"question_id": "Interaction_T1_0", "answer": 4}]}', "there are 4"),
        ('{"Interaction": [{"question": 1}]}', "not the official prediction format of star"),
        ("[1, 2]", "not the official prediction format"),
        ("", "no predictions in it"),
        ("{", "neither JSON nor a line of JSON"),
        ('{"uid": "star/val/x", "colour": 3}\n', "record 1"),
        ('{"uid": null}\n', "record 1: uid None"),
    ],
)
def test_wrong_prediction_files_are_told(content: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text(content)
    with pytest.raises(DataError, match=words):
        read_predictions(path, [choice("Interaction_T1_0", "Interaction")], dataset="star")


def test_our_records_are_scored_whatever_the_split_was_called(tmp_path: Path) -> None:
    row = '{"example_id": 7, "vid_name": "a_ep", "ts": [1, 2], "events": ["x", "y"], "answer": 1}\n'
    (tmp_path / "vlep_dev_release.jsonl").write_text(row + row.replace("7", "8"))
    lines = [Record(uid=f"vlep/dev/{n}", pred_idx=1).to_json() for n in (7, 8)]
    (tmp_path / "records.jsonl").write_text("\n".join(lines) + "\n")
    found = score(tmp_path / "records.jsonl", dataset="vlep", annotations=tmp_path / "vlep_dev_release.jsonl")
    assert found.official == {"accuracy_percent": 100.0, "n": 2} and found.form == "records"
    wrong = lines[1].replace("}", ', "scores": [0.5, -Infinity]}')
    (tmp_path / "records.jsonl").write_text(lines[0] + "\n" + wrong + "\n")
    with pytest.raises(DataError, match=r"records.jsonl:2: vlep/dev/8: `scores` holds NaN or inf.* as a failed"):
        score(tmp_path / "records.jsonl", dataset="vlep", annotations=tmp_path / "vlep_dev_release.jsonl")
    (tmp_path / "records.jsonl").write_text(lines[0])
    given = {"dataset": "vlep", "annotations": tmp_path / "vlep_dev_release.jsonl"}
    with pytest.raises(DataError, match=r"1 of 2 samples have no prediction \(vlep/val/8"):
        score(tmp_path / "records.jsonl", **given)
    found = score(tmp_path / "records.jsonl", **given, allow_missing=True)
    assert (found.metrics["accuracy"], found.metrics["failed"], found.official["n"]) == (0.5, 1, 2)


def test_vlep_takes_both_keys(tmp_path: Path) -> None:
    sample = Sample(uid="vlep/val/7", dataset="vlep", split="val", task="mc_qa", options=("x", "y"), answer_idx=1)
    for key in ("pred_ans", "pre_ans"):
        (tmp_path / "p.jsonl").write_text(json.dumps({"example_id": 7, key: 1}))
        [record], _ = read_predictions(tmp_path / "p.jsonl", [sample], dataset="vlep")
        assert record.pred_idx == 1


def test_nextqa_groups_by_hand() -> None:
    right = {"CW": True, "CH": False, "TN": True, "TP": False, "TC": True, "DC": True, "DL": False}
    samples = [replace(choice(f"{kind}_0", kind), dataset="nextqa") for kind in right]
    records = [Record(uid=s.uid, pred_idx=0 if right[s.qtype] else 1) for s in samples]
    found = multiple_choice_official.nextqa(records, samples)
    assert (found["Acc_C"], found["Acc_T"], found["Acc_D"], found["Acc"]) == (50.0, 66.67, 50.0, 57.14)
    assert (found["Bef&Aft"], found["When"], found["Other"]) == (50.0, 100.0, None), "TP is counted as TN; no DO"
