"""Ranks with ties, both directions, failed videos; classes and numbers per video."""

import numpy as np

from vidalign.common.record import Record
from vidalign.common.sample import Media, Sample
from vidalign.scoring.classification import classification_metrics, over_seeds, regression_metrics
from vidalign.scoring.embeddings import EmbeddingFile
from vidalign.scoring.retrieval import both_directions, matched_share, rank_metrics, ranks_of, twin_choice


def test_ties_by_both_rules():
    ranks = ranks_of(np.zeros((4, 4)), range(4))
    official, strict = (rank_metrics(ranks, ties=rule) for rule in ("official", "strict"))
    assert (official["R@1"], official["R@5"], official["MedR"]) == (0.25, 1.0, 2.5)
    assert (strict["R@1"], strict["MedR"]) == (0.0, 4.0)


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


def sample(uid, video, label):
    return Sample(
        uid=uid, dataset="d", split="s", task="classification", media=Media(kind="video", video_id=video), label=label
    )


def test_clips_of_a_video_are_united():
    samples = [sample("a1", "a", 1), sample("a2", "a", 1), sample("b1", "b", 0)]
    records = [
        Record(uid="a1", answer_idx=1, pred_idx=0, scores=(0.6, 0.4)),
        Record(uid="a2", answer_idx=1, pred_idx=1, scores=(0.1, 0.9)),
        Record(uid="b1", status="failed", answer_idx=0),
    ]
    metrics = classification_metrics(records, samples)
    assert metrics["accuracy"] == 0.5 and np.isclose(metrics["accuracy_per_sample"], 1 / 3)
    numbers = [Record(uid="a1", pred_value=2.0), Record(uid="a2", pred_value=4.0), Record(uid="b1", status="failed")]
    assert regression_metrics(numbers, samples) == {"mse": 4.0, "videos": 1, "failed": 1}
    assert over_seeds([1.0, 3.0])["mean"] == 2.0 and np.isclose(over_seeds([1.0, 3.0])["std"], 2**0.5)


def test_embeddings_of_a_shared_video_are_written_once(tmp_path):
    samples = [sample("t0", "v", 0), sample("t1", "v", 0), sample("t2", "w", 0)]
    file = EmbeddingFile(tmp_path / "s.jsonl", "ab", samples)
    assert file.new_videos(["v", "v", "w"]) == [0, 2]
    file.write({"t0": np.ones(2)}, {"v": np.full(2, 3.0)})
    assert file.new_videos(["v", "w"]) == [1]
    file.write({"t1": np.ones(2), "t2": np.ones(2)}, {"w": np.full(2, 4.0)})
    tables = file.close()
    assert tables["video"].tolist() == [[3, 3], [4, 4]] and tables["right"].tolist() == [0, 0, 1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.embeddings.npz"]
