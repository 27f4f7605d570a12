"""Readers of TOPA's data: TextVID with broken rows, WebVid, EgoSchema in both forms, Perception, How2QA's csv."""

import csv
import json
import pickle

import numpy as np
import pytest
import torch

from vidalign.common.errors import DataError, MediaError
from vidalign.common.sample import from_dict, to_dict
from vidalign.data.dataset import repeated_share
from vidalign.data.sets.config import DatasetConfig
from vidalign.media.features import FeatureStore
from vidalign.media.load import MediaLoader
from vidalign.media.spec import MediaSpec
from vidalign.registry import DATASETS

QUESTION = {"question": "what rolls", "options": ["a ball", "a bike"], "answer": "B", "answer_open_ended": " A bike. "}
VIDEO = {
    "idx": "tv0",
    "frames": [{"caption": "a man", "hand": "his hand"}, {"caption": "a bike"}],
    "QAs": [QUESTION, {**QUESTION, "answer": "A", "answer_open_ended": ""}],
    "global_video_caption": "A man rides a bike.",
}


def builder(name, root, **settings):
    return DATASETS.load(name)(DatasetConfig(root=str(root), **settings))


def write(path, value):
    path.write_text(json.dumps(value), encoding="utf-8")
    return path.parent


def write_csv(path, columns, *rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return path.parent


def test_a_textual_video_keeps_its_questions_and_captions(tmp_path):
    [sample] = builder("textvid", write(tmp_path / "textvid.json", [VIDEO])).samples("train")
    assert (sample.uid, sample.task, sample.media.kind) == ("textvid/train/tv0", "textvideo", "text_frames")
    assert sample.text_frames == (("a man", "his hand"), ("a bike",)) and sample.texts == ("A man rides a bike.",)
    assert [(qa.answer_idx, qa.answer, qa.problem) for qa in sample.qas] == [(1, " A bike. ", None), (0, None, None)]
    assert from_dict(json.loads(json.dumps(to_dict(sample)))) == sample
    assert pickle.loads(pickle.dumps(sample)) == sample


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"answer": "C"}, "answer 'C' is not one of the letters A to B"),
        ({"answer": None}, "answer None is not"),
        ({"answer": "AB"}, "answer 'AB' is not"),
        ({"options": ["one"]}, "2 to 26 texts"),
        ({"options": "ab"}, "2 to 26 texts"),
        ({"question": " "}, "no text in `question`"),
    ],
)
def test_a_broken_question_keeps_its_place_and_says_why(tmp_path, change, told):
    broken = {**VIDEO, "QAs": [QUESTION, {**QUESTION, **change}]}
    [sample] = builder("textvid", write(tmp_path / "textvid.json", [broken])).samples("train")
    assert sample.qas[0].problem is None and told in sample.qas[1].problem
    assert "question 2 of item 1" in sample.qas[1].problem


@pytest.mark.parametrize("change", [{"frames": []}, {"frames": [{}]}, {"QAs": []}, {"idx": None}, {"frames": "x"}])
def test_a_row_that_is_no_textual_video_is_named(tmp_path, change):
    root = write(tmp_path / "textvid.json", [VIDEO, {**VIDEO, "idx": "tv1", **change}])
    with pytest.raises(DataError, match=rf"textvid\.json, item 2, field '{next(iter(change))}'"):
        builder("textvid", root).samples("train")


def media_of(root, features, sample):
    store = FeatureStore.open(root / features)
    spec = MediaSpec(kind="features", num_frames=3, feature_dim=store.dim)
    return MediaLoader(spec, features=store).load(sample)


@pytest.mark.parametrize("kind", ["pkl", "npy", "pth"])
def test_frames_are_fused_from_a_file_per_video(tmp_path, kind):
    [sample] = builder("textvid", write(tmp_path / "textvid.json", [VIDEO])).samples("train")
    (tmp_path / "features").mkdir()
    rows = torch.tensor([[2.0, 0.0], [0.0, 5.0], [3.0, 4.0]]).half()
    path = tmp_path / "features" / f"tv0.{kind}"
    if kind == "npy":
        np.save(path, rows.numpy())
    elif kind == "pth":
        torch.save(rows, path)
    else:
        path.write_bytes(pickle.dumps(rows))
    loaded = media_of(tmp_path, "features", sample)
    expected = [[0.5**0.5, 0.5**0.5], [0.6, 0.8], [0.0, 0.0]]
    assert torch.allclose(loaded.tensor, torch.tensor(expected), atol=1e-3) and loaded.length == 2


def test_a_feature_file_that_does_not_fit_or_is_missing_fails_that_sample_alone(tmp_path):
    [sample] = builder("textvid", write(tmp_path / "textvid.json", [VIDEO])).samples("train")
    (tmp_path / "features").mkdir()
    torch.save(torch.ones(2, 2), tmp_path / "features" / "tv0.pkl")
    with pytest.raises(MediaError, match=r"2 caption features for frames with \[2, 1\] captions"):
        media_of(tmp_path, "features", sample)
    (tmp_path / "features" / "tv0.pkl").rename(tmp_path / "features" / "other.pkl")
    with pytest.raises(MediaError, match="no features for 'tv0'"):
        media_of(tmp_path, "features", sample)
    (tmp_path / "features" / "tv0.pkl").write_bytes(pickle.dumps(print))
    with pytest.raises(MediaError, match="only arrays are allowed"):
        media_of(tmp_path, "features", sample)


def test_webvid_reads_captions_and_a_pickled_dictionary(tmp_path):
    root = write(tmp_path / "train.json", [{"feature_idx": "w0", "caption": "A beach"}])
    (tmp_path / "features.pkl").write_bytes(pickle.dumps({"w0": torch.ones(2, 4)}))
    [sample] = builder("webvid", root, features="features.pkl").samples("train")
    assert (sample.task, sample.texts, sample.options) == ("caption", ("A beach",), ())
    assert media_of(tmp_path, "features.pkl", sample).length == 2


RAW = {f"option {number}": f"o{number}" for number in range(5)}


def egoschema(tmp_path):
    questions = [{"q_uid": f"q{number}", "google_drive_id": "x", "question": "Why.", **RAW} for number in range(3)]
    write(tmp_path / "questions.json", questions)
    return write(tmp_path / "subset_answers.json", {"q1": 4})


def test_egoschema_subset_and_full_set(tmp_path):
    root = egoschema(tmp_path)
    [subset] = builder("egoschema", root).samples("subset")
    assert (subset.uid, subset.answer_idx, subset.answer) == ("egoschema/subset/q1", 4, "o4")
    full = builder("egoschema", root).samples("full")
    assert [sample.answer_idx for sample in full] == [None] * 3, "the full set's answers are the server's"
    with pytest.raises(DataError, match="unknown split 'train'"):
        builder("egoschema", root).samples("train")


def test_egoschema_without_questions_is_told(tmp_path):
    root = egoschema(tmp_path)
    write(root / "questions.json", [{"q_uid": "q1", "google_drive_id": "x", **RAW}])
    for split in ("subset", "full"):
        with pytest.raises(DataError, match="field 'question': missing; the first public questions.json lacked it"):
            builder("egoschema", root).samples(split)
    columns = ("uid", "question", "answer", "a0", "a1", "a2", "a3", "a4")
    other = tmp_path / "csv"
    other.mkdir()
    write_csv(other / "val.csv", columns, ("e1", "", "1", *"abcde"))
    with pytest.raises(DataError, match="the question is empty"):
        builder("egoschema", other).samples("subset")
    write_csv(other / "val.csv", [name for name in columns if name != "question"], ("e1", "1", *"abcde"))
    with pytest.raises(DataError, match=r"column\(s\) question missing"):
        builder("egoschema", other).samples("val")


def test_topas_csv_files(tmp_path):
    write_csv(
        tmp_path / "test.csv", ("uid", "question", "answer", "a0", "a1", "a2", "a3", "a4"), ("e1", "q", 3, *"abcde")
    )
    [sample] = builder("egoschema", tmp_path).samples("test")
    assert sample.answer_idx is None and sample.meta["filler_answer"] == 3
    write_csv(tmp_path / "val.csv", ("uid", "question", "answer", "a0", "a1", "a2"), ("p1", "q", 2, *"abc"))
    [sample] = builder("perception", tmp_path, features="features").samples("val")
    assert (sample.media.video_id, sample.answer) == ("p1", "c")
    write_csv(
        tmp_path / "train.csv",
        ("uid", "video_id", "question", "answer", "a0", "a1", "a2", "a3"),
        ("h1", "v", "q", 3, *"abcd"),
    )
    [sample] = builder("how2qa", tmp_path, features="features").samples("train")
    assert (sample.uid, sample.media.video_id, sample.answer, sample.span) == ("how2qa/train/h1", "v_h1", "d", None)


def test_a_share_of_the_rows_is_seen_more_often():
    assert repeated_share(list("abcd"), 0.5) == list("abab")
    assert repeated_share(list("abc"), 1.0) == list("abc") and repeated_share(list("ab"), 0.1) == list("aa")
