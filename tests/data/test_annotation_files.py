"""Any single file of a distribution, whatever stands beside it; odd bytes, odd cells, and further layouts."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import pytest
from processed_layouts import layouts
from test_sets_open_qa import put, read

from vidalign.common.errors import DataError
from vidalign.media.load import open_known, resolve_video
from vidalign.runners.annotations import read_annotations

LVU = ("relationship", "way_speaking", "scene", "director", "writer", "year", "genre", "like_ratio", "view_count")
# file of the shared folder -> dataset, splits found (counted in test_data_sets_real.py)
FILES = {
    **{f"nextqa_mc/{n}": ("nextqa", "val test") for n in ("map_vid_vidorID.json",)},
    **{"nextqa_mc/val.csv": ("nextqa", "val"), "nextqa_mc/test.csv": ("nextqa", "test")},
    **{"nextqa_oe/val.csv": ("nextqa_oe", "val"), "nextqa_oe/test.csv": ("nextqa_oe", "test")},
    "nextqa_oe/add_reference_answer_test.json": ("nextqa_oe", "test"),
    **{f"star/{n}": ("star", "train") for n in ("STAR_train.json", "action_classes.txt", "action_mapping.txt")},
    "vlep/vlep_dev_release.jsonl": ("vlep", "val"),
    "vlep/vlep_test_release.jsonl": ("vlep", "test"),
    "tvqa/tvqa_test_public.jsonl": ("tvqa", "test_public"),
    "tvqa/tvqa_val.jsonl": ("tvqa", "val"),
    "how2qa/how2QA_val_release.csv": ("how2qa", "val"),
    "how2qa/how2QA_test_public_release.csv": ("how2qa", "test_public"),
    "how2qa/how2_vid_mapping.json": ("how2qa", "test_public val"),
    **{f"qvhighlights/highlight_{s}_release.jsonl": ("qvhighlights", s) for s in ("train", "val", "test")},
    **{f"activitynet_qa/{s}_{part}.json": ("activitynet_qa", s) for s in ("train", "val", "test") for part in "qa"},
    **{f"tgif_qa/Test_{k}_question.csv": ("tgif_qa", "test") for k in ("action", "transition", "frameqa", "count")},
    "tgif_qa/txt_tgif-action.json": ("tgif_qa", "train val test"),
    **{f"msrvtt/MSRVTT_{s}.csv": ("msrvtt", s) for s in ("JSFUSION_test", "train.9k", "train.7k", "test.full")},
    **{
        f"msrvtt/{n}.json": ("msrvtt", "train val test")
        for n in ("txt_msrvtt-retrieval", "videodatainfo_italian_sample")
    },
    "msvd/txt_msvd-qa.json": ("msvd_qa", "train val test"),
    **{f"msvd/{s}_list.txt": ("msvd_qa", s) for s in ("val", "test")},
    "vatex/test1k5_sec_list.txt": ("vatex", "test1k5"),
    "webvid/txt_webvid2.5m.json": ("webvid", "train val"),
    **{f"didemo/{s}_{n}": ("didemo", s) for s in ("val", "test") for n in ("data.json", "list.txt")},
    "activitynet_captions/val_1.json": ("activitynet_captions", "val_1"),
    "activitynet_captions/val_2.json": ("activitynet_captions", "val_2"),
    "activitynet_captions/val_ids.json": ("activitynet_captions", "val_1 val_2"),
    **{
        f"condensed_movies/{n}.csv": ("condensed_movies", "train val test")
        for n in ("clips", "descriptions", "durations", "movies", "split")
    },
    "queryd/relevant-video-links-v2.txt": ("queryd", "links"),
    **{f"lvu/{task}/{s}.csv": ("lvu", s) for task in LVU for s in ("train", "val", "test")},
    **{f"egoschema/{n}.json": ("egoschema", "full subset") for n in ("questions", "subset_answers", "uid_to_ego4d")},
    **{f"coin/{n}": ("coin", "train") for n in ("COIN.json", "taxonomy.xlsx")},
    "video_chatgpt/train_video_ids.txt": ("videochatgpt_tune", "ids"),
    "hdvila/clip_metadata_example.json": ("lfvila8m", "clip_metadata_example"),
}
PREDICTIONS = ("predictions_HGA_val.json", "sample_dev_submission.jsonl", "sample_val_preds.jsonl")
NO_ANNOTATIONS = (*PREDICTIONS, "pred_val_example.json", "expected_metrics.json")


def test_the_table_names_every_file(shared: Path) -> None:
    folder = shared / "data/annotations"
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(FILES) == {n for n in there if not n.endswith(NO_ANNOTATIONS) and not n.startswith("published_results/")}


@pytest.mark.parametrize("file", FILES)
def test_every_single_file(file: str, shared: Path) -> None:
    name, splits = FILES[file]
    found = list(read_annotations(shared / "data/annotations" / file, dataset=name))
    assert sorted(one.found.split for one in found) == sorted(splits.split())
    for one in found:
        assert one.samples and all(sample.uid.startswith(f"{name}/{one.found.split}/") for sample in one.samples)


def test_a_file_is_found_from_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "writer/test.csv", "class_id class_name youtube_id imdb_id\n0 x abc tt1\n")
    monkeypatch.chdir(tmp_path / "writer")
    assert read(Path("test.csv"), "lvu")[0].uid == "lvu/test/writer_abc"


NEXTQA = "video,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4\n"


def test_line_ends_marks_quotes_and_further_columns(tmp_path: Path) -> None:
    row = '7,1,1,1,"why, ""so""\r\n?",3.0,0,CW,None,ü 中,10,"a, b",\u2028e'
    text = "\ufeff" + NEXTQA.strip() + ",more\r\n" + row + ",z\r\n\r\n"
    (tmp_path / "val.csv").write_bytes(text.encode())
    [sample] = read(tmp_path, "nextqa")
    assert sample.question == 'why, "so"\r\n?' and sample.meta["more"] == "z"
    assert sample.options == ("None", "ü 中", "10", "a, b", "\u2028e") and sample.answer == "a, b"
    line = json.dumps({"example_id": 7, "vid_name": "a_ep", "ts": ["1", "2.5"], "events": ["é", "y"], "answer": "1"})
    (tmp_path / "vlep_dev_release.jsonl").write_bytes(f"\ufeff{line}\r\n\r\n".encode())
    [sample] = read(tmp_path / "vlep_dev_release.jsonl", "vlep")
    assert (sample.span, sample.options, sample.answer_idx) == ((1.0, 2.5), ("é", "y"), 1)


def test_labels_as_tables_write_them(tmp_path: Path) -> None:
    rows = [f"{i},1,1,1,q,{answer},0,CW,a,b,c,d,e\n" for i, answer in enumerate(("2.0", "", "nan", "0"))]
    with pytest.raises(DataError, match="line 4, field 'answer': a whole number"):
        read(put(tmp_path, "test.csv", NEXTQA + "".join(rows)), "nextqa")
    put(tmp_path, "test.csv", NEXTQA + "".join(rows[:2] + rows[3:]))
    assert [s.answer_idx for s in read(tmp_path, "nextqa")] == [2, None, 0], "an empty cell is a hidden label"
    put(tmp_path, "test.csv", NEXTQA + "1,1,1,1,q,4,0,CW,a,,c,,e\n" + "2,1,1,1,q,1,0,CW,a,b,,,\n")
    first, second = read(tmp_path, "nextqa")
    assert first.options == ("a", "", "c", "", "e") and first.answer == "e", "an empty option keeps its place"
    assert second.options == ("a", "b")


@pytest.mark.parametrize("kind", ["gzip", "zip"])
def test_archives_are_told(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "STAR_val.json"
    path.write_bytes(gzip.compress(b"[]"))
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("STAR_val.json", "[]" * 400)
    with pytest.raises(DataError, match=f"a {kind} archive; unpack it"):
        read(tmp_path, "star")


def test_a_name_that_stands_twice_is_told(tmp_path: Path) -> None:
    video = '{"duration": 3, "timestamps": [[0, 1]], "sentences": ["One."]}'
    put(tmp_path, "train.json", f'{{"v_a": {video}, "v_b": {video}, "v_a": {video}}}')
    with pytest.raises(DataError, match="'v_a' stands there twice"):
        read(tmp_path, "activitynet_captions")


def test_answers_without_a_question_are_counted(tmp_path: Path) -> None:
    row = {"q_uid": "x", "question": "why", **{f"option {i}": f"o{i}" for i in range(5)}}
    put(tmp_path, "questions.json", [row])
    put(tmp_path, "subset_answers.json", {"x": 4, "y": 1})
    full, subset = read_annotations(tmp_path, dataset="egoschema")
    assert (full.samples[0].answer_idx, subset.samples[0].answer) == (None, "o4")
    assert subset.builder.left_out == ["subset_answers.json: y is no question"]
    csv = "uid,question,a0,a1,a2,a3,a4,answer\nx,why,a,b,c,d,e,0\n"
    put(tmp_path, "topa/val.csv", csv)
    put(tmp_path, "topa/test.csv", csv)
    assert [s.uid for s in read(tmp_path / "topa", "egoschema")] == ["egoschema/full/x", "egoschema/subset/x"]


def test_further_layouts(tmp_path: Path) -> None:
    found = {}
    for name, files in layouts().items():
        for file, content in files.items():
            put(tmp_path / name, file, content)
        found |= {sample.uid: sample for sample in read(tmp_path / name, name)}
    raw, subs, hd = (found[uid] for uid in ("videochatgpt_tune/train/0", "qvhighlights/val/s4", "lfvila8m/val/v"))
    assert raw.texts == ("q\n<video>", "a") and raw.media.path == "videochatgpt_tune/v_1.mp4"
    assert subs.windows == ((0.0, 4.0),) and subs.saliency == ()
    assert (hd.media.parts, hd.text_spans, hd.meta["url"]) == (("v/v.1.mp4",), ((77.759, 3623.5),), "u")
    assert [found[f"webvid/val/2{k}"].texts for k in ("", "#1")] == [("y",), ("z",)]
    assert found["dramaqa/val/1"].qtype == "2" and len(found["dramaqa/val/1"].media.parts) == 3


def test_the_converter_alternates_the_place_of_the_video(tmp_path: Path) -> None:
    put(tmp_path, "VideoInstruct_Dataset.json", [{"q": "q", "a": "a", "video_id": "v_1"}] * 2)
    assert [s.texts[0] for s in read(tmp_path, "videochatgpt_tune")] == ["q\n<video>", "<video>\nq"]


def test_how2qa_authors_rows_for_features_of_clips(tmp_path: Path) -> None:
    put(tmp_path, "how2QA_val_release.csv", "abc,[214.42:241.7],None,10,b,What?,Yellow\n")
    [whole] = read(tmp_path, "how2qa", official_order=True)
    assert (whole.media.video_id, whole.span, whole.options[0]) == ("abc", (214.42, 241.7), "Yellow")
    [clip] = read(tmp_path, "how2qa", official_order=True, features="clipvitl14_split.pth")
    assert (clip.media.video_id, clip.span) == ("abc_180_240", (34.0, 61.0)), "the end may lie after the clip's"


def test_media_folders_of_the_judged_protocol(tmp_path: Path) -> None:
    for name, folder in (("msrvtt_qa", "all"), ("activitynet_qa", "all_test"), ("tgif_qa", "mp4")):
        put(tmp_path / name, "test_q.json", [{"video_name": "v", "question": "q", "question_id": 1}])
        (tmp_path / name / folder).mkdir()
        [one] = read_annotations(tmp_path / name, dataset=name)
        assert one.builder.media_root.name == folder


def test_colons_may_be_underscores_in_the_file_system(tmp_path: Path) -> None:
    row = {"example_id": 1, "vid_name": "yt_subs_001_00:10:00_00:11:00_ep", "ts": [0, 3], "events": ["a", "b"]}
    put(tmp_path, "vlep_test_release.jsonl", json.dumps(row))
    [one] = read_annotations(tmp_path, dataset="vlep")
    [sample] = one.samples
    assert resolve_video(one.builder.media_root, sample.media).name == "yt_subs_001_00:10:00_00:11:00_ep.mp4"
    put(tmp_path, "videos/vlep_ytb_clips/yt_subs_001_00_10_00_00_11_00_ep.mp4", "")
    found = resolve_video(one.builder.media_root, sample.media)
    assert found.is_file() and found.parent.name == "vlep_ytb_clips"


def test_second_references_without_a_question_are_counted(tmp_path: Path) -> None:
    put(tmp_path, "test.csv", "video,frame_count,width,height,question,answer,qid,type\n7,9,1,1,why,so,0,CW\n")
    put(tmp_path, "add_reference_answer_test.json", {"7": {"0": "for that", "4": "x"}})
    [one] = read_annotations(tmp_path, dataset="nextqa_oe")
    assert one.samples[0].answers == ("so", "for that")
    assert one.builder.left_out == ["add_reference_answer_test.json: 7_4 is no question"]


def test_tvqas_frames_in_folders_are_videos(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    row = {"qid": 5, "vid_name": "castle_s01", "ts": "0.5-1.5", "q": "who", **{f"a{i}": str(i) for i in range(5)}}
    put(tmp_path, "tvqa_test_public.jsonl", json.dumps(row))
    [one] = read_annotations(tmp_path, dataset="tvqa", settings={"videos": "frames_hq"})
    folder = tmp_path / "frames_hq/castle_s01"
    folder.mkdir(parents=True)
    for number in range(1, 7):
        image.new("RGB", (8, 6)).save(folder / f"{number:05}.jpg")
    path = resolve_video(one.builder.media_root, one.samples[0].media)
    with open_known(path, decoder="decord", manifest=None) as video:
        assert (path, video.num_frames, video.fps) == (folder, 6, 3.0), "three pictures a second"
