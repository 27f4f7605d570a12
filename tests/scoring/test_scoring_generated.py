"""Open-ended answers without a judge, and MVBench's two ways of matching."""

import pytest

from vidalign.common.record import Record
from vidalign.common.sample import DatasetInfo, Sample
from vidalign.scoring.exact_match import exact_match_metrics
from vidalign.scoring.intervals import wilson
from vidalign.scoring.mvbench import chosen_option, either_metrics, loosely_right, mvbench_metrics
from vidalign.scoring.open_ended import contained, exactly, normalized, open_ended_metrics


def test_normalized():
    assert normalized("It's a T-shirt, the 'red' one!") == ("it's", "t-shirt", "red", "one")
    assert exactly("A frying pan.", "frying pan") and not exactly("pan", "frying pan")
    assert contained("in the kitchen, I think", "Kitchen") and not contained("the kitchenette", "kitchen")
    assert not exactly("", "") and not contained("anything", "the")


def open_sample(uid, answers, qtype=None):
    return Sample(uid=uid, dataset="x", split="val", task="open_qa", question="?", answers=answers, qtype=qtype)


def test_open_ended_metrics():
    info = DatasetInfo(name="x", task="open_qa", groups={"core": ("what", "who")})
    samples = [
        open_sample("1", ("dog", "puppy"), "what"),
        open_sample("2", ("red",), "who"),
        open_sample("3", (), "what"),
        open_sample("4", ("cat",), "how"),
    ]
    records = [
        Record(uid="1", pred_text="A puppy."),
        Record(uid="2", pred_text="it is red"),
        Record(uid="3", pred_text=""),
        Record(uid="4", status="failed", reason="no file", pred_text="cat"),
    ]
    metrics = open_ended_metrics(records, samples, info)
    assert metrics["exact_match"] == pytest.approx(1 / 3) and metrics["contained_match"] == pytest.approx(2 / 3)
    assert metrics["exact_match_core"] == 0.5 and metrics["contained_match_core"] == 1.0
    assert metrics["exact_match_how"] == 0.0 and 0 < metrics["exact_match_low"] < metrics["exact_match_high"] < 1
    assert [metrics[key] for key in ("samples", "scored", "failed", "empty")] == [4, 3, 1, 1]
    hidden = open_ended_metrics(records[2:3], samples[2:3], info)
    assert hidden == {"samples": 1, "scored": 0, "failed": 0, "empty": 1}


def test_open_questions_of_types_named_like_a_limit():
    samples = [open_sample("1", ("dog",), "low"), open_sample("2", ("cat",), "high")]
    records = [Record(uid="1", pred_text="dog"), Record(uid="2", pred_text="dog")]
    info = DatasetInfo(name="x", task="open_qa", groups={"low": ("high",)})
    for metrics, name in (
        (open_ended_metrics(records, samples, info), "exact_match"),
        (exact_match_metrics(records, samples, info), "accuracy"),
    ):
        assert (metrics[f"{name}_low"], metrics[f"{name}_high"]) == wilson(1, 2)
        assert (metrics[f"{name}_type_low"], metrics[f"{name}_type_high"]) == (1.0, 0.0)
        assert metrics[f"{name}_group_low"] == 0.0
    beside = exact_match_metrics(records, [open_sample("1", ("dog",), "gpt"), samples[1]], info, taken={"accuracy_gpt"})
    assert beside["accuracy_type_gpt"] == 1.0 and "accuracy_gpt" not in beside, "that is what a judge called gpt says"


INFO = DatasetInfo(name="mvbench", task="mc_qa")
OPTIONS = ("a man", "the dog", "two", "(A)", "none of the above")


@pytest.mark.parametrize(
    ("text", "index"),
    [
        *(("(B)", 1), ("B.", 1), ("b", 1), ("(C) two", 2), ("C) whatever", 2), ("A", 0), ("B: the dog", 1)),
        *(("the dog", 1), ("The dog.", 1), ("a man", 0), ("A man", 0), ("none of the above", 4)),
        *(("(A)", 0), ("(D) (A)", 3)),  # the letter before the text, though (A) is the fourth option's
        *(("", None), ("(", None), ("a woman", None), ("I think (B)", None), ("(F)", None), ("dog", None)),
    ],
)
def test_strict_matching(text, index):
    assert chosen_option(text, OPTIONS) == index


def test_loose_matching_counts_nothing_as_right():
    assert loosely_right("", "(B) x") and loosely_right("(", "(B) x") and loosely_right("B.", "(B) x")
    assert not loosely_right("A", "(B) x") and not loosely_right("a man", "(B) a man")


def test_mvbench_metrics():
    def one(uid, task, answer):
        return Sample(
            uid=uid, dataset="mvbench", split="test", task="mc_qa", options=("x", "y"), answer_idx=answer, qtype=task
        )

    samples = [one("1", "s", 0), one("2", "s", 1), one("3", "t", 1), one("4", "t", None), one("5", "t", 0)]
    records = [
        Record(uid="1", pred_text="(A) x"),
        Record(uid="2", pred_text=""),
        Record(uid="3", pred_text="(A)"),
        Record(uid="4", pred_text="(A)"),
        Record(uid="5", status="failed", reason="no file", pred_text="(A)"),
    ]
    metrics = mvbench_metrics(records, samples, INFO)
    assert metrics["accuracy"] == 0.5 and metrics["accuracy_s"] == 1.0 and metrics["accuracy_t"] == 0.0
    assert metrics["accuracy_strict"] == 0.25 and metrics["accuracy_strict_s"] == 0.5
    assert metrics["accuracy_macro"] == 0.5 and metrics["accuracy_strict_macro"] == 0.25
    assert [metrics[key] for key in ("samples", "scored", "unclear", "failed")] == [5, 4, 1, 1]
    assert either_metrics(records, samples, INFO) == metrics
    by_score = [Record(uid=sample.uid, pred_idx=0) for sample in samples]
    assert either_metrics(by_score, samples, INFO)["accuracy"] == 0.5


def test_mvbench_tasks_named_like_a_metric():
    def one(uid, task):
        return Sample(uid=uid, dataset="x", split="val", task="mc_qa", options=("x", "y"), answer_idx=0, qtype=task)

    samples = [one("1", "strict"), one("2", "low"), one("3", "strict_low")]
    metrics = mvbench_metrics([Record(uid=f"{n}", pred_text="A" if n == 1 else "B") for n in (1, 2, 3)], samples, INFO)
    assert metrics["accuracy_strict"] == metrics["accuracy"] == pytest.approx(1 / 3)
    assert (metrics["accuracy_type_strict"], metrics["accuracy_strict_strict"]) == (1.0, 1.0)
    assert (metrics["accuracy_low"], metrics["accuracy_strict_low"]) == (wilson(1, 3)[0], wilson(1, 3)[0])
    assert (
        metrics["accuracy_type_low"] == metrics["accuracy_type_strict_low"] == metrics["accuracy_strict_type_low"] == 0
    )
