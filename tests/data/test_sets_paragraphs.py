"""Builders of paragraphs, statements and classes, and a researcher's own rows, on small files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from test_sets_open_qa import put, read

from vidalign.common.errors import DataError
from vidalign.data.sets.own_data import FIELDS
from vidalign.registry import DATASETS
from vidalign.runners.annotations import read_annotations


def test_activitynet_captions(tmp_path: Path) -> None:
    video = {"duration": 30.5, "timestamps": [[0, 10], [20, 31.2], [9, 4]], "sentences": ["One.", " Two.", " Three. "]}
    put(tmp_path, "val_1.json", {"v_a": video, "v_b": video | {"timestamps": [[0, 1], [1, 2], [2, 3]]}})
    put(tmp_path, "val_2.json", {"v_a": video})
    put(tmp_path, "val_ids.json", ["v_a", "v_b"])
    first, second, again = read(tmp_path, "activitynet_captions")
    assert (first.uid, first.texts, first.media.path) == (
        "activitynet_captions/val_1/v_a",
        ("One.", "Two.", "Three."),
        "v_a.mp4",
    )
    assert first.text_spans == ((0.0, 10.0), (20.0, 30.5), (4.0, 9.0)) and first.meta["corrected"] == [1, 2]
    assert first.answer == "One. Two. Three." and "corrected" not in second.meta and again.split == "val_2"
    put(tmp_path, "val_1.json", {"v_a": video | {"sentences": ["One."]}})
    with pytest.raises(DataError, match="video v_a, field 'timestamps': as many"):
        read(tmp_path, "activitynet_captions", "val_1")


def test_processed_paragraphs(tmp_path: Path) -> None:
    rows = [{"clip_id": "a", "text": ["x", "y"]}, {"clip_id": "b", "text": "z"}]
    for name in ("activitynet_captions", "didemo", "condensed_movies", "queryd"):
        put(tmp_path, f"{name}/test.jsonl", "\n".join(map(json.dumps, rows)))
        assert [s.texts for s in read(tmp_path / name, name)] == [("x", "y"), ("z",)]


def test_didemo_joins_by_stem(tmp_path: Path) -> None:
    row = {"num_segments": 5, "description": "a ", "times": [[4, 4], [3, 4], [3, 4], [4, 4]], "annotation_id": 1}
    rows = [
        row | {"video": "1@N00_2_x.mov"},
        row | {"video": "b.c_9.mp4", "description": "b"},
        row | {"video": "1@N00_2_x", "description": "c", "times": [[0, 0]]},
        row | {"video": "1@N00_2_x.mp4", "description": "d", "num_segments": 6, "times": [[5, 5]]},
    ]
    put(tmp_path, "val_data.json", rows)
    put(tmp_path, "val_list.txt", "1@N00_2_x.avi\nlost.mp4\n")
    [one] = read_annotations(tmp_path, dataset="didemo")
    first, second = one.samples
    assert first.texts == ("a", "c", "d") and first.media.path == "1@N00_2_x.avi"
    assert first.text_spans == ((20.0, 25.0), (0.0, 5.0), (25.0, 30.0)), "chunks of 5 s, the last one included"
    assert (second.media.video_id, second.media.path, second.meta["in_list"]) == ("b.c_9", "b.c_9.mp4", False)
    assert one.builder.left_out == ["val_list.txt names lost.mp4, which has no description"]
    put(tmp_path, "val_data.json", [row | {"video": "a", "times": [[4, 3]]}])
    with pytest.raises(DataError, match="pieces lie in 0..5"):
        read(tmp_path, "didemo")


def test_condensed_movies(tmp_path: Path) -> None:
    put(tmp_path, "split.csv", "imdbid,split\ntt1,val\ntt2,test\n")
    put(tmp_path, "descriptions.csv", "imdbid,videoid,description\ntt1,a,None\ntt2,b,Text\ntt3,c,Gone\ntt2,d,\n")
    put(tmp_path, "clips.csv", "videoid,year,clip_name\na,2012.0,\nb,,Scene\n")
    put(tmp_path, "durations.csv", "videoid,duration\na,133\n")
    val, test = read_annotations(tmp_path, dataset="condensed_movies")
    assert [s.uid for s in val.samples + test.samples] == ["condensed_movies/val/a", "condensed_movies/test/b"]
    assert (val.samples[0].texts, val.samples[0].media.duration_seconds) == (("None",), 133.0)
    assert test.samples[0].meta["clip_name"] == "Scene" and "year" not in test.samples[0].meta
    assert test.builder.left_out == [
        "line 4: film tt3 of clip c is in no split",
        "line 5: clip d has no description",
    ]


def test_queryd(tmp_path: Path) -> None:
    segments = [{"text": "later", "start": 5, "end": 7}, {"text": "first", "start": 0, "end": 2}]
    put(tmp_path, "test.json", {"video-a": segments})
    put(tmp_path, "relevant-video-links-v2.txt", "https://www.youtube.com/watch?v=0-NB\n" * 2)
    links, paragraph = read(tmp_path, "queryd")
    assert (links.uid, links.texts) == ("queryd/links/0-NB", ())
    assert (paragraph.texts, paragraph.text_spans) == (("first", "later"), ((0.0, 2.0), (5.0, 7.0)))


def test_violin(tmp_path: Path) -> None:
    clip = {"file": "ep.mp4", "span": [1, 9], "split": "validate", "source": "tv", "sub": [["Hi", 0.5, 2]]}
    hidden = clip | {"split": "test", "statement": ["alone"]}
    put(tmp_path, "violin_annotation.json", {"c1": clip | {"statement": [["yes", "no"], ["a", "b"]]}, "c2": hidden})
    samples = read(tmp_path, "violin", subtitles=True)
    assert [(s.uid, s.question, s.label) for s in samples] == [
        ("violin/val/c1_0_0", "yes", 1.0),
        ("violin/val/c1_0_1", "no", 0.0),
        ("violin/val/c1_1_0", "a", 1.0),
        ("violin/val/c1_1_1", "b", 0.0),
        ("violin/test/c2_0_0", "alone", None),
    ]
    assert samples[0].subtitles[0].text == "Hi" and samples[0].span is None
    row = {"clip_id": "c", "text_q": "so", "text_s": [{"start": 0, "end": 1, "text": "x"}], "answer": 0}
    put(tmp_path, "lf/violin_test.jsonl", json.dumps(row))
    assert read(tmp_path / "lf", "violin")[0].label == 0.0


def test_coin(tmp_path: Path) -> None:
    video = {"duration": 9.5, "class": "Do", "subset": "training", "recipe_type": 131, "start": 1.0, "end": 8.0}
    steps = [{"id": "2", "segment": [1.0, 4.0], "label": "step"}]
    database = {"a": video | {"annotation": steps}, "b": video | {"subset": "testing", "annotation": []}}
    put(tmp_path, "COIN.json", {"database": database | {"c": video | {"subset": "odd"}}})
    train, test = read_annotations(tmp_path, dataset="coin")
    [sample] = train.samples
    assert (sample.label, sample.answer, sample.span, sample.texts) == (131.0, "Do", None, ("step",))
    assert [s.uid for s in test.samples] == ["coin/test/b"] and "video c" in test.builder.left_out[0]
    put(tmp_path, "lf/test.jsonl", '{"video_id": "x", "recipe_type": 7}')
    assert read(tmp_path / "lf", "coin")[0].label == 7.0


def test_lvu(tmp_path: Path) -> None:
    put(tmp_path, "writer/test.csv", "class_id class_name youtube_id imdb_id\n0 \\N -yx tt1\n9 nm2 abc tt2\n")
    put(tmp_path, "like_ratio/test.csv", "like_count dislike_count youtube_id imdb_id\n30 10 abc tt1\n")
    put(tmp_path, "lvu_1.0/view_count/test.csv", "view_count youtube_id imdb_id\n100 abc tt1\n")
    put(tmp_path, "other/test.csv", "x\n")
    ratio, null, nine, views = read(tmp_path, "lvu")
    assert (ratio.label, ratio.task, ratio.uid) == (7.5, "regression", "lvu/test/like_ratio_abc")
    assert (null.answer, null.label, nine.label) == ("\\N", 0.0, 9.0), "ids have gaps"
    assert views.label == pytest.approx(math.log(100))
    assert len(read(tmp_path / "writer", "lvu")) == 2 == len(read(tmp_path / "writer/test.csv", "lvu"))
    put(tmp_path, "like_ratio/test.csv", "like_count dislike_count youtube_id imdb_id\n0 0 abc tt1\n")
    with pytest.raises(DataError, match="line 2, field 'like_count'"):
        read(tmp_path / "like_ratio/test.csv", "lvu")


def test_how2qa_of_lf_vila_and_sevila(tmp_path: Path) -> None:
    row = {"clip_id": "h_0_60", "span": [math.nan, math.nan], "text_q": "What?", "text_a": ["a", "b", "None", "b"]}
    row |= {"answer_idx": 2, "text_s": [{"start": 1, "end": 2, "text": "x"}]}
    put(tmp_path, "lf/val.jsonl", json.dumps(row))
    [sample] = read(tmp_path / "lf", "how2qa", official_order=True, subtitles=True)
    assert (sample.span, sample.answer, sample.subtitles[0].text) == (None, "None", "x")
    options = {f"a{i}": f"o{i}" for i in range(4)}
    row = {"video": "clips/h_0_60", "num_option": 4, "qid": "HOW2QA_3", "question": "What?", "answer": 1, **options}
    put(tmp_path, "sevila/train.json", [row | {"start": 3.0, "end": 9.0}])
    [sample] = read(tmp_path / "sevila", "how2qa", official_order=True)
    assert (sample.uid, sample.media.path, sample.answer) == ("how2qa/train/HOW2QA_3", "h_0_60.mp4", "o1")


def test_own_data(tmp_path: Path) -> None:
    rows = [
        {
            "id": "r1",
            "video": "sub/a.mp4",
            "question": "What?",
            "options": ["x", "None"],
            "answer": "None",
            "start": 1,
            "end": 2,
        },
        {"video": "b", "task": "caption", "answer": "A cat."},
    ]
    put(tmp_path, "val.jsonl", "\n".join(map(json.dumps, rows)))
    first, second = read(tmp_path, "own_data")
    assert (first.uid, first.answer_idx, first.span, first.media.video_id) == (
        "own_data/val/r1",
        1,
        (1.0, 2.0),
        "sub/a",
    )
    assert (second.task, second.answers, second.uid) == ("caption", ("A cat.",), "own_data/val/1")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"qestion": "x"}, "unknown field 'qestion'; is 'question' meant?"),
        ({"options": None}, "the task 'mc_qa' needs options"),
        ({"answer": "z"}, "must be one of the 2 options"),
        ({"answer_idx": 2}, "0..1"),
        ({"task": "mc"}, "the task 'mc' is none of"),
        ({"windows": [[1]]}, r"\[start, end\] in seconds"),
        ({"video": None}, "'video'"),
        ({"start": 3, "end": 1}, "ends"),
        ({"uid": "x"}, "not a sample"),
        ({"options": ["x"]}, "'options': two or more texts"),
        ({"options": []}, "'options': two or more texts"),
        ({"answer_idx": 1}, "'answer': answer_idx 1 is the option 'y'"),
        ({"task": "retrieval", "texts": []}, "'texts': at least one sentence"),
        ({"task": "classification", "label": 2.7}, "'label': the number of a class expected"),
        ({"task": "classification", "label": -3}, "'label': the number of a class expected"),
        ({"task": "entailment", "label": 7}, "'label': 1 .* or 0 "),
    ],
)
def test_own_data_mistakes_are_named(change: dict, words: str, tmp_path: Path) -> None:
    row = {"video": "a.mp4", "question": "q", "options": ["x", "y"], "answer": "x"}
    put(tmp_path, "val.jsonl", json.dumps(row) + "\n" + json.dumps(row | change))
    with pytest.raises(DataError, match=words) as caught:
        read(tmp_path, "own_data")
    assert "line 2" in str(caught.value) or "val.jsonl" in str(caught.value)


@pytest.mark.parametrize("task", ["classification", "regression", "entailment"])
def test_own_data_labels_may_be_hidden_where_nothing_is_trained(task: str, tmp_path: Path) -> None:
    rows = [{"id": str(i), "video": "a", "question": "q", "label": label} for i, label in enumerate((1, None))]
    for split in ("train", "test", "part"):
        put(tmp_path, f"{split}.jsonl", "\n".join(map(json.dumps, rows)))
    builder = DATASETS.load("own_data")
    config = DATASETS.config("own_data")(root=str(tmp_path), task=task, train="part")
    assert [sample.label for sample in builder(config).samples("test")] == [1.0, None]
    for split in ("train", "part"):
        with pytest.raises(DataError, match=f"line 2, field 'label': {task}: needed for training"):
            builder(config).samples(split)


def test_own_data_checks_unified_lines_too(tmp_path: Path) -> None:
    row = {"uid": "u", "dataset": "own_data", "split": "val", "task": "classification", "label": 1}
    put(tmp_path, "val.jsonl", json.dumps(row) + "\n" + json.dumps(row | {"uid": "v", "label": 1.5}))
    with pytest.raises(DataError, match="line 2, field 'label'"):
        read(tmp_path, "own_data")


def test_the_template_is_valid(repository: Path) -> None:
    samples = read(repository / "data_prep/own_data_template.jsonl", "own_data")
    assert len(samples) == 8 and {sample.task for sample in samples} >= {"mc_qa", "moment", "entailment"}
    page = (repository / "docs/own_data.md").read_text()
    assert all(f"`{name}`" in page for name in FIELDS if name != "clip_len")


def test_processed_rows_of_sevila(tmp_path: Path) -> None:
    base = {"video": "folder/v1", "question": "What?", "start": 1.0, "end": 4.5}
    four, five = ({f"a{i}": f"o{i}" for i in range(n)} for n in (4, 5))
    put(tmp_path, "star/val.json", [base | four | {"num_option": 4, "qid": "Sequence_T1_3", "answer": 2}])
    put(tmp_path, "tvqa/val.json", [base | five | {"num_option": 5, "qid": "TVQA_9", "answer": 4}])
    put(tmp_path, "vlep/val.json", [base | {"a0": "x", "a1": "y", "num_option": 2, "qid": "VLEP_7", "answer": 1}])
    found = {name: read(tmp_path / name, name)[0] for name in ("star", "tvqa", "vlep")}
    assert {name: (s.answer_idx, s.span, s.split) for name, s in found.items()} == {
        "star": (2, (1.0, 4.5), "val"),
        "tvqa": (4, (1.0, 4.5), "val"),
        "vlep": (1, (1.0, 4.5), "val"),
    }
    assert {s.media.video_id for s in found.values()} == {"v1"} and found["star"].qtype == "Sequence"
