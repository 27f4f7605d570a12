"""Caption sets and MVBench from made files in the official layouts; real rows where the shared folder has them."""

import json

import pytest

from vidalign.common.errors import DataError
from vidalign.data.sets.captions import ClipCaptions, MsrVtt, Vatex
from vidalign.data.sets.config import DatasetConfig
from vidalign.data.sets.mvbench import TASKS, MVBench


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def msrvtt(videos, per_video=20):
    return {
        "info": {"year": "2017"},
        "videos": [{"video_id": v, "split": s, "category": 3, "start time": 1.0, "end time": 2.0} for v, s in videos],
        # The official file's sentences stand in no order of videos.
        "sentences": [
            {"video_id": v, "sen_id": n, "caption": f"{v} says {n}"} for n in range(per_video) for v, _ in videos[::-1]
        ],
    }


def test_msrvtt_twenty_captions_per_video(tmp_path):
    videos = [("video3", "train"), ("video1", "validate"), ("video9", "test"), ("video2", "test")]
    write(tmp_path / "videodatainfo_2017.json", msrvtt(videos))
    builder = MsrVtt(DatasetConfig(root=str(tmp_path), eval="test"))
    first, second = builder.samples("test")
    assert (first.uid, second.uid, first.qtype, first.task) == (
        "msrvtt/test/video9",
        "msrvtt/test/video2",
        "3",
        "caption",
    )
    assert first.answers == tuple(f"video9 says {n}" for n in range(20)) and first.media.path == "video9.mp4"
    assert [s.uid for s in builder.samples("val")] == ["msrvtt/val/video1"]
    assert {one.split for one in MsrVtt.find(tmp_path)} == {"train", "val", "test"}

    trained = MsrVtt(DatasetConfig(root=str(tmp_path), train="train", eval="test")).samples("train")
    assert len(trained) == 20 and trained[4].uid == "msrvtt/train/video3#4"
    assert trained[4].texts == trained[4].answers == ("video3 says 4",)
    assert len(MsrVtt(DatasetConfig(root=str(tmp_path), train="test", eval="test")).samples("test")) == 2


def test_msrvtt_unlabelled_and_wrong(tmp_path):
    content = msrvtt([("video1", "test")], per_video=0)
    write(tmp_path / "test_videodatainfo.json", content)
    (sample,) = MsrVtt(DatasetConfig(root=str(tmp_path))).samples("test")
    assert sample.answers == () and sample.texts == ()
    content["sentences"] = [{"video_id": "video7", "caption": "x"}]
    write(tmp_path / "test_videodatainfo.json", content)
    with pytest.raises(DataError, match="sentences item 1.*video7"):
        MsrVtt(DatasetConfig(root=str(tmp_path))).samples("test")


def test_vatex(tmp_path):
    rows = [{"videoID": "a_000001_000011", "enCap": ["one", "two"], "chCap": ["x"]}, {"videoID": "b_000000_000010"}]
    write(tmp_path / "vatex_validation_v1.0.json", rows)
    labelled, hidden = Vatex(DatasetConfig(root=str(tmp_path))).samples("val")
    assert labelled.answers == ("one", "two") and labelled.media.path == "a_000001_000011.mp4"
    assert hidden.answers == () and labelled.meta["chCap"] == ["x"]
    write(tmp_path / "vatex_validation_v1.0.json", [{"videoID": "a", "enCap": "one"}])
    with pytest.raises(DataError, match="item 1.*list of texts"):
        Vatex(DatasetConfig(root=str(tmp_path))).samples("val")


def test_real_rows(shared):
    annotations = shared / "data" / "annotations"
    builder = MsrVtt(DatasetConfig(root=str(annotations / "msrvtt")))
    builder.given = annotations / "msrvtt" / "videodatainfo_italian_sample.json"
    (train,) = builder.samples("train")
    assert train.uid == "msrvtt/train/video0" and len(train.answers) == 20
    assert train.answers[0] == "viene visualizzata una macchina" and train.qtype == "9"
    assert [sample.media.video_id for sample in builder.samples("test")] == ["video7010", "video7013", "video7016"]
    ids = Vatex(DatasetConfig(root=str(annotations / "vatex"))).samples("test1k5")
    assert len(ids) == 300 and ids[0].media.video_id == "G9zN5TTuGO4_000179_000189" and not ids[0].answers
    assert [one.split for one in ClipCaptions.find(shared / "data", "val")] == ["val"]
    clips = ClipCaptions(DatasetConfig(root=str(shared / "data"))).samples("val")
    assert len(clips) == 5 and clips[0].media.path == "flipping_a_pancake.mkv" and len(clips[0].answers) == 2


def mvbench_row(**values):
    row = {"video": "1.mp4", "question": "What?", "candidates": ["a", "b", "b"], "answer": "b"}
    return row | values


def test_mvbench(tmp_path):
    for task in TASKS:
        write(tmp_path / "json" / f"{task}.json", [mvbench_row(start=1.5, end=4), mvbench_row(video="2.mp4")])
    builder = MVBench(DatasetConfig(root=str(tmp_path)))
    samples = {sample.uid.split("/", 2)[2]: sample for sample in builder.samples("test")}
    assert len(samples) == 40 and not builder.left_out
    timed, plain = samples["action_sequence_0"], samples["action_antonym_0"]
    assert timed.span == (1.5, 4.0) and plain.span is None and samples["action_sequence_1"].span is None
    assert timed.answer_idx == 2 and timed.qtype == "action_sequence"  # of two equal options the last one counts
    assert timed.media.path == "star/Charades_v1_480/1.mp4" == timed.media.video_id
    frames = samples["episodic_reasoning_0"].media
    assert (frames.kind, frames.fps, frames.path) == ("frames", 3.0, "tvqa/frames_fps3_hq/1.mp4")
    assert builder.media_root == tmp_path / "video"

    (tmp_path / "json" / "action_count.json").unlink()
    assert len(builder.samples("test")) == 38
    assert builder.left_out == ["task action_count: json/action_count.json is missing"]
    (found,) = MVBench.find(tmp_path / "json" / "state_change.json")
    builder.use(found)
    assert len(builder.samples("test")) == 2
    write(tmp_path / "json" / "state_change.json", [mvbench_row(answer="c")])
    with pytest.raises(DataError, match="not one of the candidates"):
        builder.samples("test")
