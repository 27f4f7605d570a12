"""What goes to a server comes back as the same answers; predictions that are odd, incomplete or of another kind."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from processed_layouts import layouts
from stand_in_data import official_files

from vidalign.cli import main
from vidalign.common.errors import DataError
from vidalign.common.record import Record
from vidalign.common.sample import Sample
from vidalign.registry import TASKS
from vidalign.runners.annotations import read_annotations
from vidalign.runners.score import score
from vidalign.scoring.official import read_predictions
from vidalign.scoring.submission import write_submission


def put(folder: Path, files: dict) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def several(samples: list[Sample]) -> list[Sample]:
    """Five Samples like the first, with ids of the same kind."""
    one = samples[0]
    return [
        replace(one, uid=f"{one.uid.rpartition('_')[0]}_{n}" if "_" in one.uid else f"{one.uid}{n}") for n in range(5)
    ]


@pytest.mark.parametrize(
    ("name", "split", "file"),
    [
        ("vlep", "val", "vlep_dev_submission.jsonl"),
        ("vlep", "test", "vlep_test_submission.jsonl"),
        ("star", "test", "test_submission.json"),
        ("tvqa", "test", "test_submission.json"),
        ("egoschema", "full", "full_submission.json"),
    ],
)
def test_chosen_options_go_out_and_come_back(name: str, split: str, file: str, tmp_path: Path) -> None:
    [read] = read_annotations(put(tmp_path / "in", official_files()[name]), dataset=name, split=split)
    samples = several(read.samples)
    records = [Record(uid=s.uid, pred_idx=n % len(s.options)) for n, s in enumerate(samples[:-1])]
    failed = Record(uid=samples[-1].uid, status="failed", reason="no file", pred_idx=0)
    path = write_submission(read.builder.info.submission, [*records, failed], samples, folder=tmp_path, split=split)
    assert path.name == file
    back, form = read_predictions(path, samples, dataset=name)
    assert form == "official" and [(r.uid, r.pred_idx) for r in back] == [(r.uid, r.pred_idx) for r in records]
    if name == "egoschema":
        again, _ = read_predictions(path.with_suffix(".csv"), samples, dataset=name)
        assert again == back, "Kaggle's csv says the same"


def test_windows_go_out_and_come_back(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", official_files()["qvhighlights"])
    [read] = read_annotations(folder, dataset="qvhighlights", split="val")
    record = Record(uid=read.samples[0].uid, windows=((0.0, 4.0, 0.9), (2.0, 6.0, 0.1)), saliency=(0.1, 0.9, 0.2, 0.3))
    path = write_submission("qvhighlights", [record], read.samples, folder=tmp_path, split="val")
    assert path.name == "hl_val_submission.jsonl"
    [back], _ = read_predictions(path, read.samples, dataset="qvhighlights")
    assert (back.windows, back.saliency) == (record.windows, record.saliency)
    assert score(path, dataset="qvhighlights", annotations=folder).official["brief"]["MR-full-R1@0.7"] == 100.0


def vlep(tmp_path: Path) -> Path:
    rows = [
        {"example_id": n, "vid_name": "a_ep", "ts": [1, 2], "events": ["x", "y"], "answer": n % 2} for n in range(4)
    ]
    return put(tmp_path, {"vlep_dev_release.jsonl": "".join(json.dumps(row) + "\n" for row in rows)})


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (['{"example_id": 0, "pred_ans": 0}'], "3 of 4 samples have no prediction"),
        (['{"example_id": 9, "pred_ans": 0}'], "'9', which is not among the 4 samples"),
        (['{"example_id": 0, "pred_ans": 0}'] * 2, "1 repeated"),
        (['{"example_id": 0, "pred_ans": null}'], "predicted option None, there are 2"),
        (['{"example_id": 0, "pred_ans": true}'], "predicted option True"),
        (['{"example_id": 0, "pred_ans": 0.5}'], r"predicted option 0\.5"),
        (['{"example_id": 0, "pred_ans": "b"}'], "not the official prediction format of vlep"),
        (['{"example_id": 0, "example_id": 1, "pred_ans": 1}'], "two predictions for 'example_id'"),
    ],
)
def test_odd_files_are_told(lines: list[str], words: str, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match=words):
        score(path, dataset="vlep", annotations=vlep(tmp_path), allow_missing="repeated" in words)


def test_whole_numbers_in_any_spelling_and_missing_rows_on_request(tmp_path: Path, capsys) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"example_id": 0, "pred_ans": "0"}\n{"example_id": "1", "pre_ans": 1.0}\n')
    command = ["score", str(path), "--dataset", "vlep", "--annotations", str(vlep(tmp_path)), "--json"]
    assert main(command) == 2 and "--allow-missing" in capsys.readouterr().err
    assert main([*command, "--allow-missing"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["metrics"]["accuracy"] == 0.5 and found["metrics"]["failed"] == 2


def test_true_answers_of_another_release_are_told(tmp_path: Path) -> None:
    folder = put(tmp_path, official_files()["nextqa"])
    [read] = read_annotations(folder, dataset="nextqa", split="val")
    native = read.samples[0].uid.split("/", 2)[2]
    (tmp_path / "p.json").write_text(json.dumps({native: {"prediction": 0, "answer": 3}}))
    with pytest.raises(DataError, match="the file says that 3 is right, the annotations 1"):
        score(tmp_path / "p.json", dataset="nextqa", annotations=folder / "val.csv")


def test_captions_in_the_form_of_the_coco_toolkit(tmp_path: Path) -> None:
    content = {
        "videos": [{"video_id": f"video{i}", "split": "test"} for i in range(2)],
        "sentences": [
            {"video_id": f"video{i}", "caption": f"a {w} runs", "sen_id": i} for i, w in enumerate(("dog", "cat"))
        ],
    }
    folder = put(tmp_path, {"test_videodatainfo.json": content})
    rows = [{"image_id": "video1", "caption": "a cat runs"}, {"image_id": "video0", "caption": ""}]
    (tmp_path / "p.json").write_text(json.dumps(rows))
    found = score(tmp_path / "p.json", dataset="msrvtt", annotations=folder / "test_videodatainfo.json")
    assert found.form == "official" and found.metrics["empty"] == 1 and found.metrics["scored"] == 2
    assert 0 < found.metrics["rouge_l"] < 1


def test_how2qa_predictions_count_options_as_the_file_does(tmp_path: Path) -> None:
    rows = "".join(f"abc,[{n}:20],w1,w2,w3,What {n}?,right\n" for n in range(8))
    folder = put(tmp_path, {"how2QA_val_release.csv": rows})
    (tmp_path / "p.json").write_text(json.dumps({str(n): 0 for n in range(8)}))
    found = score(tmp_path / "p.json", dataset="how2qa", annotations=folder)
    assert found.metrics["accuracy"] == 1.0, "option 0 of the file is the right one, wherever it was shuffled to"


@pytest.mark.parametrize("of_run", [True, False])
def test_records_of_another_option_order_are_told(of_run: bool, tmp_path: Path) -> None:
    rows = "".join(f"abc,[{n}:20],w1,w2,w3,What {n}?,right\n" for n in range(8))
    folder = put(tmp_path / "in", {"how2QA_val_release.csv": rows})
    [read] = read_annotations(folder, dataset="how2qa", settings={"official_order": of_run})
    records = [Record(uid=s.uid, answer_idx=s.answer_idx, pred_idx=s.answer_idx) for s in read.samples]
    (tmp_path / "p.jsonl").write_text("".join(record.to_json() + "\n" for record in records))
    given = {"dataset": "how2qa", "annotations": folder}
    remedy = f"{'add' if of_run else 'leave out'} --options official_order=true"
    first = r"p\.jsonl:\d: how2qa/val/\d says that option \d is right, the annotations say \d"
    with pytest.raises(DataError, match=f"{first}; .*{remedy}"):
        score(tmp_path / "p.jsonl", **given, settings={"official_order": not of_run})
    assert score(tmp_path / "p.jsonl", **given, settings={"official_order": of_run}).metrics["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"pred_idx": "1"}, "pred_idx '1': write a whole number"),
        ({"pred_idx": True}, "pred_idx True: write a whole number"),
        ({"pred_idx": 0.5}, "pred_idx 0.5: write a whole number"),
        ({"pred_idx": 2}, "vlep/val/1 has pred_idx 2, its options are 0 to 1"),
        ({"pred_idx": -1}, "has pred_idx -1"),
        ({"scores": [0.1, 0.9]}, 'vlep/val/1 has no pred_idx, .* task mc_qa .*"failed"'),
        ({"pred_text": "y"}, "has no pred_idx"),
        ({"pred_idx": 1, "status": "OK"}, "status 'OK': write ok or failed"),
        ({"pred_idx": 1, "scores": "0.1"}, r"scores '0\.1': write a list of numbers"),
        ({"pred_idx": 1, "windows": [[0, 1]]}, r"windows .*: write a list of \[start, end, score\]"),
        ({"pred_id": 1}, "unknown field 'pred_id'. Did you mean 'pred_idx'"),
        ({"pred_idx": 1, "answer_idx": 0}, "vlep/val/1 says that option 0 is right, the annotations say 1"),
    ],
)
def test_records_that_would_count_as_wrong_are_told(fields: dict, words: str, tmp_path: Path) -> None:
    rows = [{"uid": f"vlep/val/{n}", "pred_idx": n % 2} for n in range(4)]
    rows[1] = {"uid": "vlep/val/1", **fields}
    lines = [json.dumps(row) for row in rows]
    (tmp_path / "p.jsonl").write_text("\n".join([lines[0], "", *lines[1:]]))
    (tmp_path / "p.json").write_text(json.dumps(rows))
    for name, place in (("p.jsonl", "jsonl:3"), ("p.json", "json, record 2")):
        with pytest.raises(DataError, match=f"{place}: .*{words}"):
            score(tmp_path / name, dataset="vlep", annotations=vlep(tmp_path / "in"))


def test_records_that_say_all_that_is_needed(tmp_path: Path) -> None:
    """A failed one predicts nothing, null is as good as left out, 1.0 is a whole number."""
    rows = [
        {"uid": "vlep/dev/0", "pred_idx": 0, "answer_idx": None, "scores": None},
        {"uid": "vlep/dev/1", "pred_idx": 1.0, "answer_idx": 1},
        {"uid": "vlep/dev/2", "status": "failed", "reason": "no file", "answer_idx": 0},
        {"uid": "vlep/dev/3", "pred_idx": 0},
    ]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    file = vlep(tmp_path / "in") / "vlep_dev_release.jsonl"
    found = score(tmp_path / "p.jsonl", dataset="vlep", annotations=file)
    assert (found.metrics["accuracy"], found.metrics["failed"]) == (0.5, 1)


def test_answers_as_classes(tmp_path: Path) -> None:
    folder = put(tmp_path, layouts()["activitynet_qa"])
    record = Record(uid="activitynet_qa/test/0", answer_idx=3, pred_idx=3)
    (tmp_path / "p.jsonl").write_text(record.to_json() + "\n")
    found = score(tmp_path / "p.jsonl", dataset="activitynet_qa", annotations=folder)
    assert found.metrics["accuracy"] == 1.0 and found.official is None


def test_retrieval_from_the_embeddings_beside_the_records(tmp_path: Path) -> None:
    lines = "".join(json.dumps({"clip_id": name, "text": name}) + "\n" for name in "abc")
    folder = put(tmp_path / "in", {"test.jsonl": lines})
    records = [Record(uid=f"didemo/test/{name}", embedding_row=n) for n, name in enumerate("abc")]
    path = tmp_path / "test.jsonl"
    path.write_text("".join(record.to_json() + "\n" for record in reversed(records)))
    with pytest.raises(DataError, match=r"test\.embeddings\.npz: the embeddings of the evaluation"):
        score(path, dataset="didemo", annotations=folder)
    video, text = np.eye(3, dtype=np.float32), np.array([[1, 0, 0], [0, 1, 0], [0, 0.9, 0.1]], np.float32)
    np.savez(tmp_path / "test.embeddings.npz", text=text, video=video, right=np.arange(3))
    found = score(path, dataset="didemo", annotations=folder)
    assert found.metrics["R@1"] == pytest.approx(2 / 3) and found.metrics["R@1_low"] < 2 / 3
    np.savez(tmp_path / "test.embeddings.npz", text=video, video=video, right=np.array([2, 1, 0]))
    with pytest.raises(DataError, match="3 texts of other samples"):
        score(path, dataset="didemo", annotations=folder)


# Sample.task -> the registered task that a run names, two rows of own data, the predictions, the metric printed first
OF_TASKS = {
    "open_qa": (
        "open_ended",
        [{"question": "who?", "answer": "a dog"}, {"question": "what?", "answer": "red"}],
        [{"pred_text": "Dog."}, {"pred_text": "it is red"}],
        ("contained_match", 1.0),
    ),
    "mc_qa": (
        "multiple_choice",
        [{"options": ["x", "y"], "answer_idx": 1}] * 2,
        [{"pred_idx": 1}, {"pred_idx": 0}],
        ("accuracy", 0.5),
    ),
    "caption": ("captioning", [{"answers": ["a dog runs"]}] * 2, [{"pred_text": "a dog runs"}] * 2, ("cider", 0.0)),
    "moment": (
        "moments",
        [{"question": "a dog", "windows": [[0, 4]]}] * 2,
        [{"windows": [[0, 4, 0.9]]}, {"windows": []}],
        ("R1@0.5", 0.5),
    ),
    "classification": ("classification", [{"label": 2}] * 2, [{"pred_idx": 2, "answer_idx": 2}] * 2, ("accuracy", 1.0)),
    "regression": ("regression", [{"label": 2.5}] * 2, [{"pred_value": 2.0}, {"pred_value": 3}], ("mse", 0.25)),
}


def own_data(folder: Path, rows: list[dict], predictions: list[dict]) -> list[str]:
    """Arguments of `vidalign score` for rows and records."""
    rows = [{"id": str(n), "video": f"v{n}", **row} for n, row in enumerate(rows)]
    put(folder / "data", {"val.jsonl": "".join(json.dumps(row) + "\n" for row in rows)})
    records = [{"uid": f"own_data/val/{n}", **one} for n, one in enumerate(predictions)]
    put(folder, {"p.jsonl": "".join(json.dumps(record) + "\n" for record in records)})
    return [str(folder / "p.jsonl"), "--dataset", "own_data", "--annotations", str(folder / "data"), "--json"]


@pytest.mark.parametrize("task", OF_TASKS)
def test_rows_are_scored_by_the_task_they_name_as_their_run_was(task: str, tmp_path: Path, capsys) -> None:
    name, rows, predictions, head = OF_TASKS[task]
    command = own_data(tmp_path, [{"task": task, **row} for row in rows], predictions)
    assert main(["score", *command]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["headline"], found["metrics"][found["headline"]]) == head
    [read] = read_annotations(tmp_path / "data", dataset="own_data")
    records = [Record.from_json(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    of_run = TASKS.load(name)(TASKS.config(name)()).metrics(records, read.samples, read.builder.info)
    assert found["metrics"] == of_run


def test_rows_of_several_tasks_and_rows_without_answers_are_told(tmp_path: Path, capsys) -> None:
    asked = {"question": "who?", "task": "open_qa", "answer": "dog"}
    said = [{"pred_text": "dog"}, {"pred_idx": 0}]
    assert main(["score", *own_data(tmp_path, [asked, {"options": ["x", "y"], "answer_idx": 0}], said)]) == 2
    told = capsys.readouterr().err
    assert "1 of open_qa (e.g. own_data/val/0), 1 of mc_qa (e.g. own_data/val/1)" in told
    assert "val.jsonl" in told and "--options task=NAME" in told
    hidden = [{"options": ["x", "y"]}] * 2
    assert main(["score", *own_data(tmp_path, hidden, [{"pred_idx": 0}] * 2)]) == 2
    assert "none of the 2 samples has a known answer" in capsys.readouterr().err


def test_hidden_answers_still_go_to_the_server(tmp_path: Path, capsys) -> None:
    folder = put(tmp_path / "in", official_files()["egoschema"])
    [read] = read_annotations(folder, dataset="egoschema", split="full")
    assert all(sample.answer_idx is None for sample in read.samples), "the full set has no answers"
    (tmp_path / "p.jsonl").write_text("".join(Record(uid=s.uid, pred_idx=0).to_json() + "\n" for s in read.samples))
    command = ["score", str(tmp_path / "p.jsonl"), "--dataset", "egoschema", "--annotations", str(folder)]
    assert main(command) == 2 and "--submission FOLDER" in capsys.readouterr().err
    assert main([*command, "--submission", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out/full_submission.json").is_file()


def test_official_answers_in_words_keep_their_plain_accuracy(tmp_path: Path) -> None:
    rows = [{"video": f"video{n}", "question": "q", "answer": "dog", "question_id": n} for n in range(2)]
    folder = put(tmp_path / "in", {"qa_test.json": rows})
    put(tmp_path, {"p.json": [{"question_id": 0, "answer": "dog"}, {"question_id": 1, "answer": "A dog."}]})
    found = score(tmp_path / "p.json", dataset="msrvtt_qa", annotations=folder)
    assert (found.headline, found.metrics["accuracy"], found.metrics["exact_match"]) == ("accuracy", 0.5, 1.0)


def test_counts_are_scored_as_counts_in_every_layout(tmp_path: Path) -> None:
    questions = [{"video_name": "g", "question": "q", "question_id": 1}]
    folder = put(tmp_path / "in", {"test_q.json": questions, "test_a.json": [{"answer": "4", "question_id": 1}]})
    (tmp_path / "p.jsonl").write_text(Record(uid="tgif_qa/test/1", pred_text="3").to_json())
    found = score(tmp_path / "p.jsonl", dataset="tgif_qa", annotations=folder, settings={"kind": "count"})
    assert (found.headline, found.metrics["mse"], found.metrics["exact_match"]) == ("mse", 1.0, 0.0)


def test_judges_of_predictions(tmp_path: Path, capsys) -> None:
    _, rows, predictions, _ = OF_TASKS["open_qa"]
    command = ["score", *own_data(tmp_path, [{"task": "open_qa", **row} for row in rows], predictions)]
    assert main([*command, "--judge", "exact"]) == 0
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    assert (metrics["accuracy_exact"], metrics["judged_exact"], metrics["exact_match"]) == (0.5, 2, 0.5)
    reply = {"uid": "own_data/val/0", "reply": "{'pred': 'yes', 'score': 4}", "source": "judge-1"}
    put(tmp_path, {"replies.json": reply})
    assert main([*command, "--judge", "recorded", f"path={tmp_path / 'replies.json'}"]) == 0
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    assert (metrics["score_recorded-judge-1"], metrics["unparsed_recorded-judge-1"]) == (4.0, 1)


@pytest.mark.parametrize(
    ("judge", "words"),
    [
        (["exakt"], "unknown judge 'exakt'. Did you mean 'exact'"),
        (["recorded"], "judge recorded needs the file of replies"),
        (["recorded", "path=/no/such/file"], "/no/such/file does not exist"),
        (["http", "modl=x"], "unknown key 'modl'. Did you mean 'model'"),
        (["http", "attempts=0"], "attempts = '0': must be at least 1"),
        (["http", "model"], "write model=VALUE"),
        (["exact"], "--judge exact: judges read open-ended answers"),
    ],
)
def test_wrong_judges_are_told(judge: list[str], words: str, tmp_path: Path, capsys) -> None:
    _, rows, predictions, _ = OF_TASKS["mc_qa"]
    assert main(["score", *own_data(tmp_path, rows, predictions), "--judge", *judge]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_file_without_splits_is_the_one_that_the_records_name(split: str, tmp_path: Path) -> None:
    rows = [
        {"question_id": f"a_{n}", "video_name": "a", "question": "what is it?", "answer": "a cat"} for n in range(2)
    ]
    put(tmp_path, {"clips/open_qa.json": [row | {"file": "a.mp4"} for row in rows]})
    records = [Record(uid=f"clips_qa/{split}/a_{n}", pred_text=said) for n, said in enumerate(("a cat", "a dog"))]
    (tmp_path / "records.jsonl").write_text("".join(record.to_json() + "\n" for record in records))
    found = score(tmp_path / "records.jsonl", dataset="clips_qa", annotations=tmp_path)
    assert found.split == split and found.metrics["exact_match"] == 0.5
