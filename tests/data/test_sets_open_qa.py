"""Builders of open-ended questions, moments and the generative benchmark, on small files in the official formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vidalign.common.errors import DataError
from vidalign.common.sample import Sample, from_dict, to_dict
from vidalign.data.sets.open_qa import answer_vocabulary
from vidalign.runners.annotations import read_annotations


def put(root: Path, name: str, content: Any) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8")
    return path


def read(place: Path, name: str, split: str | None = None, **settings: Any) -> list[Sample]:
    samples = [s for one in read_annotations(place, dataset=name, split=split, settings=settings) for s in one.samples]
    assert [from_dict(json.loads(json.dumps(to_dict(sample)))) for sample in samples] == samples
    return samples


def test_nextqa_open_ended(tmp_path: Path) -> None:
    header = "video,frame_count,width,height,question,answer,qid,type\n"
    put(tmp_path, "test.csv", header + "7,9,1,1,is it on,yes,0,DB\n7,9,1,1,why,None,1,CW\n")
    put(tmp_path, "add_reference_answer_test.json", {"7": {"1": "no reason"}})
    first, second = read(tmp_path, "nextqa_oe", "test")
    assert (first.uid, first.answers, first.qtype, first.options) == ("nextqa_oe/test/7_0", ("yes",), "DB", ())
    assert second.answers == ("None", "no reason") and second.answer == "None"
    put(tmp_path, "add_reference_answer_test.json", ["no"])
    with pytest.raises(DataError, match="an object {video: {qid: answer}}"):
        read(tmp_path, "nextqa_oe", "test")


def test_activitynet_qa_joins_by_id_not_by_place(tmp_path: Path) -> None:
    questions = [{"video_name": "abc", "question": "what", "question_id": f"v_abc_{i}"} for i in range(2)]
    answers = [{"answer": f"a{i}", "type": 3 + i, "question_id": f"v_abc_{i}"} for i in (1, 0)]
    put(tmp_path, "val_q.json", questions)
    put(tmp_path, "val_a.json", answers)
    first, second = read(tmp_path, "activitynet_qa")
    assert (first.answer, first.qtype, second.answer, second.qtype) == ("a0", "3", "a1", "4")
    assert (first.media.path, first.media.video_id) == ("v_abc.mp4", "v_abc")
    assert read(tmp_path / "val_a.json", "activitynet_qa") == [first, second], "the answers' file means the same split"
    put(tmp_path, "val_a.json", answers[:1])
    with pytest.raises(DataError, match=r"item 1, field 'question_id': no answer to it in val_a.json"):
        read(tmp_path, "activitynet_qa")
    put(tmp_path, "val_a.json", [*answers, answers[0] | {"question_id": "v_x_1"}])
    with pytest.raises(DataError, match="1 answers without a question"):
        read(tmp_path, "activitynet_qa")
    put(tmp_path, "val_a.json", [*answers, answers[0]])
    with pytest.raises(DataError, match="two answers"):
        read(tmp_path, "activitynet_qa")
    (tmp_path / "val_a.json").unlink()
    assert [s.answer for s in read(tmp_path, "activitynet_qa")] == [None, None], "hidden answers"


def test_activitynet_qa_of_lf_vila(tmp_path: Path) -> None:
    rows = [{"video_name": "abc", "question": "what", "answer": answer} for answer in (12, -1)]
    put(tmp_path, "test.jsonl", "\n".join(map(json.dumps, rows)))
    first, second = read(tmp_path, "activitynet_qa")
    assert (first.label, first.answer, second.label) == (12.0, None, -1.0), "-1: not among the trained answers"


def test_answer_vocabulary() -> None:
    texts = ["no", "yes", "yes", "rare", "no", "yes"]
    samples = [Sample(uid=str(i), dataset="d", split="s", task="open_qa", answers=(t,)) for i, t in enumerate(texts)]
    assert answer_vocabulary(samples) == {"yes": 0, "no": 1}
    assert list(answer_vocabulary(samples, at_least=1)) == ["yes", "no", "rare"]


def test_msrvtt_and_msvd(tmp_path: Path) -> None:
    row = {"answer": "None", "category_id": 3, "id": 158581, "question": "Who is it?", "video_id": 12}
    put(tmp_path, "msrvtt/test_qa.json", [row, row | {"id": 2, "question": "is it so?"}])
    first, second = read(tmp_path / "msrvtt", "msrvtt_qa")
    assert (first.uid, first.media.path, first.answer) == ("msrvtt_qa/test/158581", "video12.mp4", "None")
    assert (first.qtype, second.qtype, first.meta["category_id"]) == ("who", "other", 3)
    put(tmp_path, "msvd/val_qa.json", [row])
    assert read(tmp_path / "msvd", "msvd_qa")[0].media.path == "vid12.avi"
    put(tmp_path, "msvd/youtube_mapping.txt", "abc_1_9 vid12\n")
    assert read(tmp_path / "msvd", "msvd_qa")[0].media.path == "abc_1_9.avi"
    put(tmp_path, "msvd/youtube_mapping.txt", "abc_1_9\n")
    with pytest.raises(DataError, match=r"youtube_mapping.txt:1"):
        read(tmp_path / "msvd", "msvd_qa")
    put(tmp_path, "lavis/qa_train.json", [{"video": "video7.mp4", "question": "q", "answer": "a", "question_id": 4}])
    [lavis] = read(tmp_path / "lavis", "msrvtt_qa")
    assert (lavis.uid, lavis.media.video_id) == ("msrvtt_qa/train/4", "video7")


def test_violets_vocabulary(tmp_path: Path) -> None:
    rows = [{"video": "abc_1_9", "question": "who?", "answer": answer} for answer in (1, 5)]
    content = {"train": rows, "test": rows[:1], "vocab": ["man", "None"]}
    put(tmp_path, "txt_msvd-qa.json", content)
    samples = read(tmp_path, "msvd_qa")
    assert [s.split for s in samples] == ["train", "train", "test"]
    assert [s.answer for s in samples] == ["None", None, "None"] and samples[1].meta["answer_place"] == 5


TGIF = {
    "Test_action_question.csv": "gif_name\tquestion\ta1\ta2\ta3\ta4\ta5\tanswer\tvid_id\tkey\n"
    'g1\tWhat, "then ?\tx\tx\tNone\td\te\t2\tACTION7\t1\n',
    "Test_frameqa_question.csv": "gif_name\tquestion\tanswer\ttype\tvid_id\tkey\tdescription\n"
    "g1\twhat ?\tblack\t2\tFRAMEQA1\t5\ta black cat\n",
    "Test_count_question.csv": "gif_name\tquestion\tanswer\tvid_id\tkey\ng1\thow often ?\t4\tCOUNT1\t6\n",
}


def test_tgif(tmp_path: Path) -> None:
    for name, text in TGIF.items():
        put(tmp_path, name, text)
    action, count, frame = sorted(read(tmp_path, "tgif_qa"), key=lambda s: s.uid)
    assert (action.task, action.options, action.answer_idx) == ("mc_qa", ("x", "x", "None", "d", "e"), 2)
    assert action.question == 'What, "then ?', "quotes and commas are part of the text"
    assert (frame.qtype, frame.answer, frame.task) == ("colour", "black", "open_qa")
    assert "black cat" not in json.dumps(to_dict(frame)), "the description tells the answer"
    assert (count.label, count.answer, count.qtype) == (4.0, "4", "count")
    assert {s.media.kind for s in (action, count, frame)} == {"gif"} and frame.media.path == "g1.mp4"
    put(tmp_path, "Test_frameqa_question.csv", TGIF["Test_frameqa_question.csv"].replace("\t2\t", "\t7\t"))
    with pytest.raises(DataError, match="'type': one of 0, 1, 2, 3"):
        read(tmp_path / "Test_frameqa_question.csv", "tgif_qa")


def test_tgif_finds_the_converted_file_first(tmp_path: Path) -> None:
    from vidalign.media.load import resolve_video

    put(tmp_path, "Test_count_question.csv", TGIF["Test_count_question.csv"])
    [read_split] = read_annotations(tmp_path, dataset="tgif_qa")
    put(tmp_path, "gifs/g1.gif", "GIF89a")
    root, media = read_split.builder.media_root, read_split.samples[0].media
    assert resolve_video(root, media).name == "g1.gif"
    put(tmp_path, "gifs/g1.mp4", "")
    assert resolve_video(root, media).name == "g1.mp4"


def test_video_chatgpt(tmp_path: Path) -> None:
    row = {"video_name": "v_a", "Q": "What?", "A": "This."}
    put(tmp_path, "generic_qa.json", [row, row | {"Q": "Who?"}, row | {"video_name": "v_b"}])
    put(tmp_path, "consistency_qa.json", [{"video_name": "v_a", "Q1": "One?", "Q2": "Two?", "A": "Yes."}])
    put(tmp_path, "notes.json", [])
    samples = {s.uid.split("/", 1)[1]: s for s in read(tmp_path, "video_chatgpt")}
    assert list(samples) == [
        "consistency/v_a_0_1",
        "consistency/v_a_0_2",
        "generic/v_a_0",
        "generic/v_a_1",
        "generic/v_b_0",
    ]
    assert samples["consistency/v_a_0_2"].question == "Two?" and samples["consistency/v_a_0_2"].meta["pair"] == "v_a_0"
    assert samples["generic/v_a_1"].answers == ("This.",)


def test_qvhighlights(tmp_path: Path) -> None:
    row = {"qid": 4, "query": "a cat", "duration": 9, "vid": "abc_60.0_210.0", "relevant_windows": [[0, 4], [6, 8]]}
    row |= {"relevant_clip_ids": [0, 1, 3], "saliency_scores": [[4, 1, 0], [2, 2, 2], [3, 3, 3]]}
    put(tmp_path, "highlight_val_release.jsonl", json.dumps(row))
    put(tmp_path, "highlight_test_release.jsonl", json.dumps({k: row[k] for k in ("qid", "query", "duration", "vid")}))
    hidden, sample = read(tmp_path, "qvhighlights")
    assert (sample.windows, sample.saliency[0], sample.clip_len) == (((0.0, 4.0), (6.0, 8.0)), (4, 1, 0), 2.0)
    assert (sample.media.path, sample.media.duration_seconds) == ("abc_60.0_210.0.mp4", 9.0)
    assert sample.meta["relevant_clip_ids"] == [0, 1, 3]
    assert (hidden.split, hidden.windows, hidden.saliency) == ("test", (), ())
    put(tmp_path, "highlight_test_with_gt.jsonl", json.dumps(row))
    assert read(tmp_path, "qvhighlights", "test")[0].windows, "the released labels are preferred"
    put(tmp_path, "highlight_val_release.jsonl", json.dumps(row | {"saliency_scores": [[1, 2, 3]]}))
    with pytest.raises(DataError, match="1 ratings for the 3 relevant_clip_ids"):
        read(tmp_path, "qvhighlights", "val")
    processed = {"video": "folder/abc_60.0_210.0", "qid": "QVHighlight_4", "query": "a cat", "duration": 9}
    put(tmp_path, "sevila/train.json", [processed | {"relevant_windows": [[0, 4]]}])
    assert read(tmp_path / "sevila", "qvhighlights")[0].uid == "qvhighlights/train/4"
