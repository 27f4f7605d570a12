"""Builders on small files written by hand: the formats no real rows are at hand for, and every kind of bad row."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from vidalign.common.errors import DataError
from vidalign.common.sample import Sample, Subtitle
from vidalign.data.sets.config import DatasetConfig
from vidalign.registry import DATASETS

NEXTQA = "video,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4\n"
HOW2QA = "video_id,start,end,question,a0,a1,a2,a3,answer_id\n"
STAR = {
    "question_id": "Sequence_T1_1",
    "video_id": "V1",
    "start": 2.5,
    "end": 11.5,
    "question": "What then?",
    "answer": "B",
    "choices": [{"choice_id": i, "choice": c} for i, c in ((2, "C"), (0, "A"), (3, "D"), (1, "B"))],
    "situations": {"000001": {}},
}
DRAMA = {"vid": "Ep01_001_0000", "shot_contained": [2, 4], "que": "why", "answers": list("abcde"), "correct_idx": 4}
VLEP = {"example_id": 1, "vid_name": "v_ep", "ts": [1.5, 4], "events": ["a", "b"], "answer": 0}
TVQA = {"qid": 5, "vid_name": "c", "ts": "1.5-4", "q": "who", "answer_idx": 1, **{f"a{i}": str(i) for i in range(5)}}


def build(name: str, root: Path, split: str, **settings: Any) -> list[Sample]:
    return DATASETS.load(name)(DatasetConfig(root=str(root), **settings)).samples(split)


def write(root: Path, name: str, *rows: Any) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        path.write_text(json.dumps(list(rows)))
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        path.write_text("".join(rows))


def test_nextqa_texts_stay_texts(tmp_path: Path) -> None:
    write(tmp_path, "val.csv", "\ufeff", NEXTQA, '7,1,1,1,"why, NA?",3,0,CW,None,NA,10,null,"a ""b"""\n')
    [sample] = build("nextqa", tmp_path, "val")
    assert sample.options == ("None", "NA", "10", "null", 'a "b"')
    assert (sample.question, sample.answer, sample.media.path) == ("why, NA?", "null", "7.mp4")


def test_nextqa_processed_json(tmp_path: Path) -> None:
    row = {"video": "1106/426", "num_option": 5, "qid": "CW_426_4", "question": "why is it so?", "answer": 2}
    write(tmp_path, "val.json", row | {f"a{i}": f"option {i}." for i in range(5)})
    [sample] = build("nextqa", tmp_path, "val")
    assert (sample.uid, sample.qtype, sample.question) == ("nextqa/val/426_4", "CW", "why is it so")
    assert sample.options[0] == "option 0" and sample.media.path == "1106/426.mp4"
    assert sample.media.video_id == "426"


def test_star(tmp_path: Path) -> None:
    hidden = {k: v for k, v in STAR.items() if k != "answer"} | {"question_id": "Feasibility_T2_9"}
    write(tmp_path, "STAR_val.json", STAR, hidden)
    first, second = build("star", tmp_path, "val", features="f.pth")
    assert (first.options, first.answer_idx, first.span) == (("A", "B", "C", "D"), 1, (2.5, 11.5))
    assert (second.answer_idx, second.qtype, second.media.kind) == (None, "Feasibility", "features")
    assert "situations" not in first.meta


def test_how2qa_processed_csv(tmp_path: Path) -> None:
    write(tmp_path, "public_val.csv", HOW2QA, "h_0_60,3,65,What?,None,10,x,y,0\n", "h_0_60,,,What?,a,b,c,d,0\n")
    first, second = build("how2qa", tmp_path, "public_val", official_order=True)
    assert (first.uid, first.options, first.answer_idx) == ("how2qa/public_val/0", ("None", "10", "x", "y"), 0)
    assert (first.span, second.span) == ((3.0, 65.0), None)
    shuffled = build("how2qa", tmp_path, "public_val")
    assert [s.answer for s in shuffled] == ["None", "a"]
    assert sorted(shuffled[0].options) == ["10", "None", "x", "y"]


def test_how2qa_value_jsonl(tmp_path: Path) -> None:
    row = {
        "qid": 12,
        "vid_name": "7",
        "q": "What?",
        "answer_idx": 2,
        "ts": "3.5-10",
        **{f"a{i}": f"{i}" for i in range(4)},
    }
    write(tmp_path, "how2qa_train_release.jsonl", row)
    (tmp_path / "how2_vid_mapping.json").write_text('{"7": "abc_0_60"}')
    [sample] = build("how2qa", tmp_path, "train", official_order=True)
    assert (sample.uid, sample.media.video_id, sample.span) == ("how2qa/train/12", "abc_0_60", (3.5, 10.0))
    assert (sample.question, sample.answer) == ("What?", "2")


def test_vlep_subtitles_are_read_only_when_asked_for(tmp_path: Path) -> None:
    write(tmp_path, "vlep_dev_release.jsonl", VLEP, VLEP | {"example_id": 2, "vid_name": "other"})
    assert [s.subtitles for s in build("vlep", tmp_path, "val")] == [None, None]
    with pytest.raises(DataError, match=r"vlep_subtitles\.jsonl"):
        build("vlep", tmp_path, "val", subtitles=True)
    write(tmp_path, "vlep_subtitles.jsonl", {"vid_name": "v_ep", "sub": [{"start": 0, "end": 1.9, "text": "-Hi"}]})
    first, second = build("vlep", tmp_path, "val", subtitles=True)
    assert first.subtitles == (Subtitle(start=0.0, end=1.9, text="-Hi"),)
    assert second.subtitles == (), "no line is not the same as not asked for"


def test_tvqa_subtitles_srt_and_jsonl(tmp_path: Path) -> None:
    write(tmp_path, "tvqa_val.jsonl", TVQA, TVQA | {"qid": 6, "ts": "NaN-NaN", "vid_name": "none"})
    with pytest.raises(DataError, match="neither the folder tvqa_subtitles nor tvqa_preprocessed_subtitles"):
        build("tvqa", tmp_path, "val", subtitles=True)
    write(
        tmp_path, "tvqa_preprocessed_subtitles.jsonl", {"vid_name": "c", "sub": [{"start": 1, "end": 2, "text": "x"}]}
    )
    assert build("tvqa", tmp_path, "val", subtitles=True)[0].subtitles[0].text == "x"
    write(tmp_path, "tvqa_subtitles/c.srt", "1\n00:00:01,500 --> 00:00:02,000\nfrom srt\n")
    first, second = build("tvqa", tmp_path, "val", subtitles=True)
    assert first.subtitles == (Subtitle(start=1.5, end=2.0, text="from srt"),)
    assert (second.subtitles, second.span) == ((), None)


def test_dramaqa_scenes_and_shots(tmp_path: Path) -> None:
    shot = DRAMA | {"vid": "Ep01_001_0003", "qid": 8}
    only = DRAMA | {"shot_contained": [9], "qid": 9}
    write(tmp_path, "AnotherMissOhQA_train_set.json", DRAMA, shot, only)
    scene, shot, single = build("dramaqa", tmp_path, "train")
    assert scene.media.parts == ("Ep01_001_0002", "Ep01_001_0003", "Ep01_001_0004")
    assert (shot.media.parts, shot.uid) == ((), "dramaqa/train/8")
    assert single.media.parts == ("Ep01_001_0009",)
    assert scene.uid == "dramaqa/train/0" and scene.answer == "e"


# dataset, file, rows, what the message must contain (all of it)
BAD = [
    ("nextqa", "val.csv", [NEXTQA, "7,1,1,1,q,5,0,CW,a,b,c,d,e\n"], ["line 2", "'answer'", "0..4", "'5'"]),
    ("nextqa", "val.csv", [NEXTQA, "7,1,1,1,q,x,0,CW,a,b,c,d,e\n"], ["line 2", "'answer'", "whole number"]),
    ("nextqa", "val.csv", [NEXTQA, *["7,1,1,1,q,1,0,CW,a,b,c,d,e\n"] * 2], ["more than once", "nextqa/val/7_0"]),
    ("nextqa", "val.csv", [NEXTQA.replace("a3", "A3")], ["column(s) a3 missing", "A3"]),
    ("nextqa", "val.csv", [NEXTQA], ["has no rows"]),
    ("nextqa", "val.csv", [""], ["the file is empty"]),
    ("nextqa", "val.csv", [NEXTQA, "7,1,1,1,q,1,0,CW,a,b\n"], ["line 2", "10 cells", "13 columns"]),
    ("nextqa", "val.csv", [NEXTQA, "7,1,1,1,q,1,0,CW,a,b,c,d,e,f,g\n"], ["line 2", "15 cells", "quotes"]),
    ("nextqa", "val.csv", [NEXTQA, '7,1,1,1,q,1,0,CW,a,b,c,d,"e\n'], ["never closed"]),
    ("star", "STAR_val.json", [STAR | {"answer": "E"}], ["item 1", "'answer'", "not one of the choices"]),
    ("star", "STAR_val.json", [STAR | {"question_id": "Counting_1"}], ["'question_id'", "Interaction"]),
    ("star", "STAR_val.json", [STAR | {"choices": ["A", "B"]}], ["'choices'", "choice_id"]),
    ("star", "STAR_val.json", [STAR | {"start": 12}], ["'start'", "ends (11.5 s) before it starts (12.0 s)"]),
    ("star", "STAR_val.json", [STAR, 5], ["item 2", "object"]),
    ("how2qa", "train.csv", [HOW2QA, "h,x,2,q,a,b,c,d,0\n"], ["line 2", "'start'", "seconds expected"]),
    ("vlep", "vlep_train_release.jsonl", [VLEP | {"ts": 3}], ["line 1", "'ts'", "[start, end]"]),
    ("vlep", "vlep_train_release.jsonl", [VLEP, VLEP | {"events": "a"}], ["line 2", "'events'"]),
    ("tvqa", "tvqa_val.jsonl", [TVQA | {"ts": "5"}], ["line 1", "'ts'", "12.5-20"]),
    ("tvqa", "tvqa_val.jsonl", [{"qid": 1, "a_0": "x"}], ["line 1", "no field 'a0'", "'a_0'"]),
    ("dramaqa", "AnotherMissOhQA_val_set.json", [DRAMA | {"shot_contained": []}], ["'shot_contained'"]),
    ("dramaqa", "AnotherMissOhQA_val_set.json", [DRAMA | {"correct_idx": 5}], ["'correct_idx'", "0..4"]),
]


@pytest.mark.parametrize(("name", "file", "rows", "words"), BAD, ids=[f"{b[0]}-{i}" for i, b in enumerate(BAD)])
def test_bad_rows_are_named(name: str, file: str, rows: list, words: list[str], tmp_path: Path) -> None:
    write(tmp_path, file, *rows)
    split = "train" if "train" in file else "val"
    with pytest.raises(DataError) as caught:
        build(name, tmp_path, split)
    for word in words:
        assert word in str(caught.value)


def test_broken_files_name_their_line(tmp_path: Path) -> None:
    (tmp_path / "tvqa_val.jsonl").write_text(json.dumps(TVQA) + '\n\n{"q": \n')
    with pytest.raises(DataError, match=r"tvqa_val\.jsonl:3: not a line of JSON"):
        build("tvqa", tmp_path, "val")
    (tmp_path / "STAR_val.json").write_text("[1,")
    with pytest.raises(DataError, match=r"STAR_val\.json: not a JSON file"):
        build("star", tmp_path, "val")
    (tmp_path / "STAR_val.json").write_text("{}")
    with pytest.raises(DataError, match="a list of objects expected, found dict"):
        build("star", tmp_path, "val")


def test_missing_folder_and_file_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"datasets\.star\.root: folder .*nowhere does not exist"):
        build("star", tmp_path / "nowhere", "val")
    with pytest.raises(DataError, match=r"none of test\.csv, how2qa_test_release\.jsonl, how2QA_test_release\.csv"):
        build("how2qa", tmp_path, "test")


def test_other_row_numbers_than_published_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "STAR_val.json", STAR)
    with caplog.at_level(logging.WARNING):
        build("star", tmp_path, "val")
    assert "star/val: 1 rows, the published file has 7098" in caplog.text


def test_a_scene_without_any_shot_has_one_zero_row_per_shot(tmp_path: Path) -> None:
    import torch

    from vidalign.media.features import FeatureStore
    from vidalign.media.load import MediaLoader
    from vidalign.media.spec import MediaSpec

    torch.save({"another": torch.ones(2, 4)}, tmp_path / "f.pth")
    write(tmp_path, "AnotherMissOhQA_train_set.json", DRAMA)
    [scene] = build("dramaqa", tmp_path, "train", features="f.pth")
    loader = MediaLoader(
        MediaSpec(kind="features", num_frames=5, feature_dim=4),
        features=FeatureStore.open(tmp_path / "f.pth"),
        missing="zeros",
    )
    loaded = loader.load(scene)
    assert loaded.length == 3 and loaded.tensor.shape == (5, 4) and not loaded.tensor.any()
