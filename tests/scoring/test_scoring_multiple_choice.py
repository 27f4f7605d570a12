"""Multiple-choice metrics against the official evaluators' numbers and against hand-made files."""

import csv
import json
import math

import pytest

from vidalign.common.errors import DataError
from vidalign.common.record import Record
from vidalign.common.sample import DatasetInfo, Sample
from vidalign.scoring.intervals import wilson
from vidalign.scoring.multiple_choice import multiple_choice_metrics

NEXTQA_GROUPS = {
    "Causal": ("CW", "CH"),
    "Temporal": ("TN", "TC", "TP"),
    "Descriptive": ("DC", "DL", "DO"),
}


def sample(uid, answer, qtype=None, options=5):
    return Sample(
        uid=uid,
        dataset="d",
        split="val",
        task="mc_qa",
        options=tuple("abcdefgh"[:options]),
        answer_idx=answer,
        qtype=qtype,
    )


def test_nextqa_numbers_of_the_official_evaluator(shared):
    folder = shared / "data/annotations"
    expected = json.loads((folder / "expected_metrics.json").read_text())["nextqa_mc"]
    given = json.loads((folder / "nextqa_mc/predictions_HGA_val.json").read_text())
    with open(folder / "nextqa_mc/val.csv", newline="", encoding="utf-8") as file:
        types = {f"{row['video']}_{row['qid']}": row["type"] for row in csv.DictReader(file)}
    samples = [sample(key, row["answer"], types[key]) for key, row in given.items()]
    records = [Record(uid=key, pred_idx=row["prediction"]) for key, row in given.items()]
    groups = NEXTQA_GROUPS | {"Bef&Aft": ("TN", "TP")}
    metrics = multiple_choice_metrics(records, samples, DatasetInfo(name="nextqa", task="mc_qa", groups=groups))
    ours = {"Acc_C": "Causal", "Acc_T": "Temporal", "Acc_D": "Descriptive", "Bef&Aft": "Bef&Aft"}
    ours |= {"Why": "CW", "How": "CH", "When": "TC", "Cnt": "DC", "Loc": "DL", "Other": "DO"}
    got = {official: round(100 * metrics[f"accuracy_{name}"], 2) for official, name in ours.items()}
    assert got | {"Acc": round(100 * metrics["accuracy"], 2)} == expected


def test_vlep_number_of_the_official_evaluator(shared):
    folder = shared / "data/annotations"
    expected = json.loads((folder / "expected_metrics.json").read_text())["vlep_dev"]
    rows = [json.loads(line) for line in (folder / "vlep/vlep_dev_release.jsonl").read_text().splitlines()]
    given = [json.loads(line) for line in (folder / "vlep/sample_dev_submission.jsonl").read_text().splitlines()]
    samples = [sample(str(row["example_id"]), row["answer"], options=2) for row in rows]
    records = [Record(uid=str(row["example_id"]), pred_idx=row["pred_ans"]) for row in given]
    metrics = multiple_choice_metrics(records, samples, DatasetInfo(name="vlep", task="mc_qa"))
    assert round(100 * metrics["accuracy"], 2) == expected["accuracy_percent"]
    assert metrics["samples"] == expected["n"]
    assert "accuracy_macro" not in metrics


def test_star_micro_and_macro_differ():
    kinds = {"Interaction": (4, 3), "Sequence": (3, 3), "Prediction": (2, 1), "Feasibility": (1, 0)}
    samples, records = [], []
    for kind, (total, right) in kinds.items():
        for number in range(total):
            samples.append(sample(f"{kind}/{number}", 1, kind, options=4))
            records.append(Record(uid=f"{kind}/{number}", pred_idx=1 if number < right else 2))
    metrics = multiple_choice_metrics(records, samples, DatasetInfo(name="star", task="mc_qa"))
    assert metrics["accuracy"] == 7 / 10
    assert metrics["accuracy_macro"] == (3 / 4 + 1 + 1 / 2 + 0) / 4
    assert metrics["accuracy_Prediction"] == 0.5


def test_failed_records_count_as_wrong_and_hidden_answers_not_at_all():
    samples = [sample("a", 0), sample("b", 0), sample("c", None)]
    records = [
        Record(uid="b", status="failed", reason="gone", pred_idx=0),
        Record(uid="a", pred_idx=0),
        Record(uid="c", pred_idx=3),
    ]
    metrics = multiple_choice_metrics(records, samples, DatasetInfo(name="d", task="mc_qa"))
    assert (metrics["accuracy"], metrics["failed"], metrics["scored"], metrics["samples"]) == (0.5, 1, 2, 3)


def test_no_known_answer_gives_no_accuracy():
    info = DatasetInfo(name="d", task="mc_qa")
    assert multiple_choice_metrics([Record(uid="c", pred_idx=3)], [sample("c", None)], info) == {
        "samples": 1,
        "scored": 0,
        "failed": 0,
    }


def test_records_must_match_samples():
    records = [Record(uid="a"), Record(uid="a"), Record(uid="z")]
    with pytest.raises(DataError, match=r"1 missing \(b .*1 surplus \(z .*1 repeated \(a "):
        multiple_choice_metrics(records, [sample("a", 0), sample("b", 0)], DatasetInfo(name="d", task="mc_qa"))


def test_wilson():
    low, high = wilson(50, 100)
    assert (low, high) == (pytest.approx(0.40383, abs=1e-5), pytest.approx(0.59617, abs=1e-5))
    assert wilson(0, 10)[0] == 0.0 and wilson(10, 10)[1] == pytest.approx(1.0)
    assert wilson(0, 0) == (0.0, 1.0)
    assert math.isclose(wilson(3, 7)[0], 1 - wilson(4, 7)[1])
    with pytest.raises(ValueError, match="not between"):
        wilson(3, 2)


def test_equal_options_are_graded_by_place():
    twice = Sample(uid="a", dataset="d", split="val", task="mc_qa", options=("x", "x", "y"), answer_idx=1)
    info = DatasetInfo(name="d", task="mc_qa")
    found = [multiple_choice_metrics([Record(uid="a", pred_idx=n)], [twice], info)["accuracy"] for n in range(3)]
    assert found == [0.0, 1.0, 0.0], "the same text at another place is not the answer"


def test_kept_frames_are_compared_with_known_windows():
    def sample(n, windows):
        shown = {"question": "q", "options": ("a", "b"), "answer_idx": 0, "qtype": "MO", "windows": windows}
        return Sample(uid=f"x/{n}", dataset="x", split="test", task="mc_qa", **shown)

    def record(n, *seconds):
        kept = tuple({"index": 0, "seconds": at} for at in seconds)
        return Record(uid=f"x/{n}", pred_idx=0, kept_frames=kept)

    info = DatasetInfo(name="x", task="mc_qa", groups={"moment": ("MO",)})
    samples = [sample(0, ((0.2, 0.4),)), sample(1, ((0.2, 0.4),)), sample(2, ((0.0, 0.1), (0.9, 1.0)))]
    metrics = multiple_choice_metrics([record(0, 0.1, 0.3), record(1, 0.1, 0.5), record(2, 0.9)], samples, info)
    assert metrics["kept_MO"] == metrics["kept_moment"] == pytest.approx(2 / 3)
    without = multiple_choice_metrics([record(0)], [sample(0, ())], info)
    assert not [name for name in without if name.startswith("kept")]


def test_types_named_like_a_limit_hide_nothing():
    """Your own data may call its types low, high and macro; both numbers stand in the metrics."""
    kinds = ["low", "low", "high", "macro", "low_light", "type_low", "day"]
    samples = [sample(str(n), 0, kind) for n, kind in enumerate(kinds)]
    records = [Record(uid=str(n), pred_idx=int(kind != "low")) for n, kind in enumerate(kinds)]
    info = DatasetInfo(name="d", task="mc_qa", groups={"day": ("low", "day"), "high": ("low",)})
    metrics = multiple_choice_metrics(records, samples, info)
    assert (metrics["accuracy_low"], metrics["accuracy_high"]) == wilson(2, 7)
    assert metrics["accuracy_macro"] == pytest.approx((2 / 3 + 1) / 2), "the mean over groups"
    assert (metrics["accuracy_type_type_low"], metrics["accuracy_type_low"]) == (1.0, 0.0)
    assert (metrics["accuracy_type_high"], metrics["accuracy_type_macro"], metrics["accuracy_low_light"]) == (0, 0, 0)
    assert (metrics["accuracy_day"], metrics["accuracy_group_day"]) == (0.0, pytest.approx(2 / 3))
    assert metrics["accuracy_group_high"] == 1.0
