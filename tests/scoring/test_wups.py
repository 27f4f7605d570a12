"""WUPS with a small lexicon in place of WordNet."""

import pytest

from vidalign.common.record import Record
from vidalign.common.sample import Sample
from vidalign.scoring import exact_match
from vidalign.scoring.intervals import bootstrap_mean, macro
from vidalign.scoring.wups import Words, prepare, wups, wups_numbers

_ALIKE = {frozenset(("dog", "cat")): 0.8, frozenset(("dog", "puppy")): 0.95}
WORDS = Words(lambda a, b: _ALIKE.get(frozenset((a, b)), 0.0), lambda word: word.rstrip("s"), frozenset({"the", "a"}))


def sample(native: str, kind: str, *answers: str) -> Sample:
    return Sample(
        uid=f"nextqa_oe/val/{native}", dataset="nextqa_oe", split="val", task="open_qa", answers=answers, qtype=kind
    )


@pytest.mark.parametrize(
    ("predicted", "true", "at_0", "at_9"),
    [
        ("dog", "dog", 1.0, 1.0),
        ("dog", "cat", 0.8, 0.08),
        ("puppy", "dog", 0.95, 0.95),
        ("dog cat", "dog", 0.8, 0.08),  # the other direction finds dog alone
        ("dog stone", "dog", 1.0, 1.0),  # a word like no other is skipped
        ("stone", "dog", 0.0, 0.0),
        ("", "dog", 0.0, 0.0),
    ],
)
def test_two_answers(predicted, true, at_0, at_9):
    for threshold, expected in ((0.0, at_0), (0.9, at_9)):
        assert wups(predicted, true, similarity=WORDS.similarity, threshold=threshold) == pytest.approx(expected)


def test_a_split():
    assert prepare("The dogs", WORDS) == "dog"
    samples = [
        sample("1_0", "CW", "cat", "dog"),
        sample("1_1", "TP", "dog"),
        sample("1_2", "DC", "2"),
        sample("1_3", "DB", "yes"),
    ]
    texts = ["the dog", "stone", "2", None]
    records = [
        Record(uid=s.uid, pred_text=t, status="ok" if t else "failed") for s, t in zip(samples, texts, strict=True)
    ]
    found = wups_numbers(records, samples, words=WORDS)["WUPS@0"]
    assert (found["CW"], found["TN"], found["DC"], found["DB"]) == (100.0, 0.0, 100.0, 0.0), "the best reference counts"
    assert (found["C"], found["T"], found["D"], found["all"]) == (100.0, 0.0, 50.0, 50.0)
    assert found["all_low"] < 50 < found["all_high"]


def test_exact_match_and_counts():
    info = exact_match.DatasetInfo(name="tgif_qa", task="open_qa")
    samples = [
        Sample(uid=f"t/test/{i}", dataset="t", split="test", task="open_qa", answer=str(n), label=float(n))
        for i, n in enumerate((3, 9, 2, 10))
    ]
    texts = ["3.4", "nonsense", "99", "10"]
    records = [Record(uid=s.uid, pred_text=t) for s, t in zip(samples, texts, strict=True)]
    found = exact_match.count_metrics(records, samples, info)
    assert found["mse"] == (0 + 64 + 64 + 0) / 4 and found["accuracy"] == 0.5
    assert exact_match.exact_match_metrics(records, samples, info)["accuracy"] == 0.25, "10 alone is the same text"
    assert exact_match.counted(Record(uid="x", pred_text="-4")) == 1


def test_intervals():
    assert bootstrap_mean([]) == (0.0, 1.0) and bootstrap_mean([0.5] * 9) == (0.5, 0.5)
    low, high = bootstrap_mean([0.0, 1.0] * 50)
    assert 0.38 < low < 0.5 < high < 0.62 and (low, high) == bootstrap_mean([0.0, 1.0] * 50)
    low, high = macro([(0, 5), (5, 5)])
    assert 0.2 < low < 0.5 < high < 0.8
