"""Ranks with ties, both directions, failed videos; classes and numbers per video."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vidalign.common.record import Record
from vidalign.common.sample import Media, Sample
from vidalign.scoring.classification import classification_metrics, over_seeds, regression_metrics
from vidalign.scoring.embeddings import EmbeddingFile
from vidalign.scoring.retrieval import both_directions, matched_share, rank_metrics, ranks_of, twin_choice
from vidalign.tasks.classification import Classification
from vidalign.tasks.config import ClassificationConfig, RetrievalConfig
from vidalign.tasks.retrieval import Retrieval


def test_ties_by_both_rules():
    ranks = ranks_of(np.zeros((4, 4)), range(4))
    official, strict, index = (rank_metrics(ranks, ties=rule) for rule in ("official", "strict", "index"))
    assert (official["R@1"], official["R@5"], official["MedR"]) == (0.25, 1.0, 2.5)
    assert (strict["R@1"], strict["MedR"]) == (0.0, 4.0)
    assert index == official, "in a square of equals the places before run from 0 to 3"
    row = ranks_of(np.array([[0.5, 0.5, 0.9, 0.5]]), [1])
    by_rule = {rule: row.positions(rule).tolist() for rule in ("official", "index", "strict")}
    assert by_rule == {"official": [1, 2, 3], "index": [2], "strict": [3]}


def test_where_there_are_ties_every_rule_is_reported():
    text, video = np.ones((4, 2)), np.ones((4, 2))
    found = both_directions(text, video, np.arange(4))
    assert (found["ties"], found["R@1"], found["strict_R@1"], found["index_R@1"]) == (1.0, 0.25, 0.0, 0.25)
    assert found["R@1_low"] < 0.25 < found["R@1_high"]
    again = both_directions(text, video, np.arange(4), ties="strict")
    assert (again["R@1"], again["official_R@1"]) == (0.0, 0.25)
    assert not any("strict" in name for name in both_directions(np.eye(3), np.eye(3), np.arange(3)))


def test_both_directions_in_blocks_equal_the_whole():
    draw = np.random.default_rng(0)
    text, video, right = draw.normal(size=(30, 8)), draw.normal(size=(10, 8)), np.repeat(np.arange(10), 3)
    video /= np.linalg.norm(video, axis=1, keepdims=True)
    whole, blocks = (both_directions(text, video, right, block=size) for size in (1000, 4))
    assert whole == blocks and whole["ties"] == 0.0
    perfect = both_directions(video, video, np.arange(10))
    assert perfect["v2t_R@1"] == 1.0


def test_failed_videos_rank_last_and_are_no_candidates():
    video = np.eye(3)
    metrics = both_directions(video, video, np.arange(3), failed_N=np.array([False, False, True]))
    assert np.isclose(metrics["R@1"], 2 / 3) and np.isclose(metrics["MeanR"], (1 + 1 + 3) / 3)


def test_twin_choice_asks_only_texts_with_a_twin_and_counts_ties_and_failures_as_wrong():
    text = np.array([[1.0, 0], [0, 1], [1, 1], [1, 0]])
    video = np.array([[1.0, 0], [0, 1], [1, 1], [0, 0]])
    right, twin = np.arange(4), np.array([1, 0, -1, 1])
    failed = np.zeros(4, bool)
    assert np.isclose(twin_choice(text, video, right, twin, failed), 2 / 3)  # the last one is a tie
    failed[0] = True
    assert np.isclose(twin_choice(text, video, right, twin, failed), 1 / 3)


def test_matched_share_of_clips_and_their_sentences():
    own = np.eye(4)[None].repeat(2, axis=0)
    crossed = own[:, [0, 2, 1, 3]]
    assert matched_share(own, own).tolist() == [1.0, 1.0]
    assert matched_share(np.concatenate([own[:1], crossed[:1]]), own).tolist() == [1.0, 0.5]
    assert matched_share(np.full_like(own, np.nan), own).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("ties", ["official", "index", "strict"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_embeddings_that_are_not_finite_rank_last(ties, bad):
    draw, right = np.random.default_rng(0), np.arange(60)
    good = draw.normal(size=(60, 8))
    good /= np.linalg.norm(good, axis=1, keepdims=True)
    broken, one = np.full_like(good, bad), good.copy()
    one[0] = bad
    for text, video in ((broken, good), (good, broken), (broken, broken)):
        found = both_directions(text, video, right, ties=ties)
        for way in ("", "v2t_"):
            assert [found[f"{way}R@{k}"] for k in (1, 50)] == [0.0, 0.0] and found[f"{way}MedR"] == 60.0
    for text, video in ((one, good), (good, one)):
        found = both_directions(text, video, right, ties=ties)
        for way in ("", "v2t_"):
            assert np.isclose(found[f"{way}R@1"], 59 / 60) and np.isclose(found[f"{way}MeanR"], (59 + 60) / 60)
    huge = both_directions(good * 1e200, good * 1e200, right, ties=ties)
    assert huge["R@1"] == 0.0, "a product that is infinite is no best one"


def test_a_text_without_numbers_takes_no_candidate_away():
    """Otherwise its failure would make the others' search easier."""
    text, video = np.array([[1.0, 0.5], [np.nan, 0]]), np.array([[0.0, 1], [1, 0]])
    found = both_directions(text, video, np.arange(2))
    assert (found["R@1"], found["MeanR"]) == (0.0, 2.0)


def sample(uid, video, label, **fields):
    media = Media(kind="video", video_id=video)
    return Sample(uid=uid, dataset="d", split="s", task="classification", media=media, label=label, **fields)


def test_clips_of_a_video_are_united():
    samples = [sample("a1", "a", 1), sample("a2", "a", 1), sample("b1", "b", 0)]
    records = [
        Record(uid="a1", answer_idx=1, pred_idx=0, scores=(0.6, 0.4)),
        Record(uid="a2", answer_idx=1, pred_idx=1, scores=(0.1, 0.9)),
        Record(uid="b1", status="failed", answer_idx=0),
    ]
    metrics = classification_metrics(records, samples)
    assert metrics["accuracy"] == 0.5 and np.isclose(metrics["accuracy_per_sample"], 1 / 3)
    assert metrics["accuracy_low"] < 0.5 < metrics["accuracy_high"]
    assert classification_metrics(records[::-1], samples) == metrics, "records and samples are matched by uid"
    numbers = [Record(uid="a1", pred_value=2.0), Record(uid="a2", pred_value=4.0), Record(uid="b1", status="failed")]
    found = regression_metrics(numbers[::-1], samples)
    assert found == {
        **{"mse": float("inf"), "answered_mse": 4.0, "answered_mse_low": 4.0, "answered_mse_high": 4.0},
        **{"videos": 2, "samples": 3, "scored": 3, "failed": 1},
    }
    assert over_seeds([1.0, 3.0])["mean"] == 2.0 and np.isclose(over_seeds([1.0, 3.0])["std"], 2**0.5)


def test_parts_of_a_video_are_judged_one_by_one(tmp_path):
    """Own data: rows with start and end of their own. Perfect predictions have perfect scores."""
    spans = [(0.0, 5.0), (5.0, 10.0), (10.0, 15.0)]
    samples = [sample(f"s{n}", "v", min(n, 1), span=span) for n, span in enumerate(spans)]
    classes = [Record(uid=f"s{n}", answer_idx=min(n, 1), pred_idx=min(n, 1)) for n in range(3)]
    scored = [replace(one, scores=(0.1, 0.9) if one.pred_idx else (0.9, 0.1)) for one in classes]
    for records in (classes, scored):
        found = classification_metrics(records, samples)
        assert (found["accuracy"], found["videos"]) == (1.0, 3)
    numbers = [Record(uid=f"s{n}", pred_value=float(min(n, 1))) for n in range(3)]
    assert regression_metrics(numbers, samples)["mse"] == 0.0
    file = EmbeddingFile(tmp_path / "s.jsonl", "ab", samples)
    assert file.right.tolist() == [0, 1, 2] and file.places_of_videos(["s0", "s1", "s2"]) == [0, 1, 2]


def test_rows_of_a_video_whose_labels_differ_are_not_united():
    samples = [sample("x", "v", 0), sample("y", "v", 1), sample("z", "v", 1)]
    records = [
        Record(uid=uid, answer_idx=n, pred_idx=n, scores=(1 - n, n)) for uid, n in (("x", 0), ("y", 1), ("z", 1))
    ]
    found = classification_metrics(records, samples)
    assert (found["accuracy"], found["videos"]) == (1.0, 2)
    assert regression_metrics([Record(uid=one.uid, pred_value=one.label) for one in samples], samples)["mse"] == 0.0


def test_a_failed_video_never_improves_an_error():
    samples = [sample(uid, uid, 0) for uid in "abc"]
    whole = [Record(uid=uid, pred_value=value) for uid, value in (("a", 0.0), ("b", 3.0), ("c", 0.0))]
    found = regression_metrics(whole, samples)
    assert found["mse"] == found["answered_mse"] == 3.0 and found["mse_low"] < 3.0 < found["mse_high"]
    for lost in ("b", "bc", "abc"):
        left = [Record(uid=one.uid, status="failed") if one.uid in lost else one for one in whole]
        part = regression_metrics(left, samples)
        assert (part["mse"], part["failed"], part["videos"]) == (float("inf"), len(lost), 3) and "mse_low" not in part
    clips = [sample("x", "v", 0), sample("y", "v", 0)]
    part = regression_metrics([Record(uid="x", pred_value=0.0), Record(uid="y", status="failed")], clips)
    assert (part["mse"], part["failed"]) == (float("inf"), 1), "nor does a failed clip of it"
    hidden = regression_metrics(whole[:1], [sample("a", "a", None)])
    assert hidden == {"videos": 0, "samples": 1, "scored": 0, "failed": 0}


def test_failed_videos_are_wrong_and_hidden_classes_not_counted():
    samples = [sample("a", "a", 1), sample("b", "b", 1), sample("c", "c", None), sample("d", "d", -1)]
    records = [
        Record(uid="a", status="failed", reason="no file"),  # as the evaluation loop writes it: no class known there
        Record(uid="b", answer_idx=1, pred_idx=1),
        Record(uid="c", answer_idx=-1, pred_idx=0),
        Record(uid="d", answer_idx=-1, pred_idx=0),
    ]
    found = classification_metrics(records, samples)
    assert np.isclose(found["accuracy"], 1 / 3), "d: its answer is none of the model's classes"
    assert [found[key] for key in ("samples", "scored", "failed", "videos")] == [4, 3, 1, 3]
    assert classification_metrics(records[2:3], samples[2:3]) == {"samples": 1, "scored": 0, "failed": 0}


def test_two_questions_about_a_video_stay_two():
    media = Media(kind="video", video_id="v")
    twice = [
        Sample(uid=u, dataset="d", split="s", task="open_qa", media=media, question="q", answer=u) for u in ("x", "y")
    ]
    records = [Record(uid="x", answer_idx=0, pred_idx=0), Record(uid="y", answer_idx=1, pred_idx=0)]
    assert classification_metrics(records, twice)["accuracy"] == 0.5


def test_embeddings_of_a_shared_video_belong_to_its_first_text(tmp_path):
    samples = [sample("t0", "v", 0), sample("t1", "v", 0), sample("t2", "w", 0)]
    file = EmbeddingFile(tmp_path / "s.jsonl", "ab", samples)
    assert file.places_of_videos(["t0", "t1", "t2"]) == [0, 2] and file.places_of_videos(["t1"]) == []
    file.write({"t1": np.ones(2)}, {})
    file.write({"t0": np.ones(2)}, {"t0": np.full(2, 3.0)})
    other = EmbeddingFile(tmp_path / "s.jsonl", "ab", samples)
    other.write({"t2": np.full(2, 5.0)}, {"t2": np.full(2, 4.0)})
    for tables in (other.close(), other.close()):  # again, as after a kill just behind the first
        assert tables["video"].tolist() == [[3, 3], [4, 4]] and tables["right"].tolist() == [0, 0, 1]
        assert tables["text"].tolist() == [[1, 1], [1, 1], [5, 5]]


class Embedder:
    """Embeds a batch's rows as they are."""

    def embed_text(self, batch):
        return batch["text"]

    def embed_video(self, batch):
        return batch["video"]


def test_texts_of_a_video_that_nobody_embedded_rank_last(tmp_path):
    samples = [sample("t0", "v", 0), sample("t1", "v", 0), sample("t2", "w", 0)]
    task = Retrieval(RetrievalConfig())
    task.begin(tmp_path / "s.jsonl", "ab", samples)
    rows = {"text": torch.eye(2), "video": torch.eye(2)}
    records = task.predict(Embedder(), {"uid": ["t1", "t2"], **rows})
    assert [record.embedding_row for record in records] == [1, 2]
    metrics = task.metrics([Record(uid="t0", status="failed"), *records], samples, None)
    assert metrics["failed"] == 2 and np.isclose(metrics["R@1"], 1 / 3)


def test_embeddings_that_are_not_finite_make_failed_records(tmp_path):
    samples = [sample("t0", "v", 0), sample("t1", "v", 0), sample("t2", "w", 0)]
    task = Retrieval(RetrievalConfig())
    task.begin(tmp_path / "s.jsonl", "ab", samples)
    text, video = torch.eye(3), torch.eye(3)
    text[1, 0], video[2, 0] = float("nan"), float("inf")
    records = task.predict(Embedder(), {"uid": ["t0", "t1", "t2"], "text": text, "video": video})
    assert [record.status for record in records] == ["ok", "failed", "failed"]
    assert "its text holds NaN" in records[1].reason and "its video holds NaN" in records[2].reason
    metrics = task.metrics(records, samples, None)
    assert metrics["failed"] == 2 and np.isclose(metrics["R@1"], 1 / 3), "t0 finds the video that it shares with t1"


def test_probabilities_that_are_not_numbers_make_failed_records():
    """argmax would take the first class."""
    logits = torch.tensor([[1.0, 2.0], [float("nan"), 0.0], [0.0, float("inf")], [0.0, float("-inf")]])
    model = SimpleNamespace(classify=lambda batch: logits)
    for keep in (200, 0):
        task = Classification(ClassificationConfig(keep_scores=keep))
        batch = {"uid": list("abcd"), "label": torch.tensor([1, 0, 1, 0])}
        records = task.predict(model, batch)
        assert [record.status for record in records] == ["ok", "failed", "failed", "ok"]
        assert [record.answer_idx for record in records] == [1, 0, 1, 0] and "not a finite number" in records[1].reason
        samples = [sample(uid, uid, label) for uid, label in zip("abcd", (1, 0, 1, 0), strict=True)]
        assert task.metrics(records, samples, None)["accuracy"] == 0.5


def test_numbers_that_are_none_are_failures_to_every_metric():
    nan = float("nan")
    samples = [sample("a", "a", 0), sample("b", "b", 0)]
    records = [Record(uid=uid, answer_idx=0, pred_idx=0, scores=(nan, nan)) for uid in "ab"]
    found = classification_metrics(records, samples)
    assert (found["accuracy"], found["failed"]) == (0.0, 2)
    numbers = regression_metrics([Record(uid=uid, pred_value=nan) for uid in "ab"], samples)
    assert (numbers["mse"], numbers["failed"]) == (float("inf"), 2)
