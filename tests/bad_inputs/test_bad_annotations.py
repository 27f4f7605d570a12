"""Bad annotation rows and files: one DataError with file, row, field and value.

The first twenty are in tests/data/test_data_sets_made.py (BAD): answers out of range, missing columns and cells,
duplicate uids, wrong times, wrong types. Here: what came after.
"""

import json

import pytest

from vidalign.common.errors import DataError
from vidalign.data.sets.config import DatasetConfig
from vidalign.registry import DATASETS

STAR = {
    "question_id": "Interaction_T1_13",
    "question": "Which object was tidied up?",
    "video_id": "6H78U",
    "start": 11.1,
    "end": 19.6,
    "choices": [{"choice_id": i, "choice": text} for i, text in enumerate(("a.", "b.", "c.", "d."))],
    "answer": "b.",
}
VLEP = {"example_id": 1, "vid_name": "v", "ts": [1.0, 2.0], "events": ["a", "b"], "answer": 0}
TVQA = {"qid": 1, "vid_name": "v", "ts": "1-2", "q": "q", "answer_idx": 0, **{f"a{i}": "x" for i in range(5)}}
DRAMA = {
    "qid": 1,
    "vid": "S_0001_0000",
    "que": "q",
    "answers": list("abcde"),
    "correct_idx": 0,
    "shot_contained": [1, 2],
}
HEAD = "video,frame_count,width,height,question,answer,qid,type,a0,a1,a2,a3,a4\n"
NAN, INF = float("nan"), float("inf")
FILES = {"star": "STAR_val.json", "vlep": "vlep_dev_release.jsonl", "tvqa": "tvqa_val.jsonl", "nextqa": "val.csv"}
FILES |= {"dramaqa": "AnotherMissOhQA_val_set.json", "how2qa": "how2qa_val_release.jsonl"}


def rows_of(name, *rows):
    lines = name not in ("star", "dramaqa")
    return "\n".join(json.dumps(row) for row in rows) if lines else json.dumps(list(rows))


def without(row, field):
    return {key: value for key, value in row.items() if key != field}


CASES = {
    "missing question": ("star", rows_of("star", without(STAR, "question")), ["item 1", "no field 'question'"]),
    "missing video": ("vlep", rows_of("vlep", VLEP, without(VLEP, "vid_name")), ["line 2", "no field 'vid_name'"]),
    "missing end": ("star", rows_of("star", without(STAR, "end")), ["item 1", "start and end in seconds", "None"]),
    "empty start": ("star", rows_of("star", STAR | {"start": ""}), ["item 1", "start and end in seconds"]),
    "NaN at one end": ("star", rows_of("star", STAR | {"end": NAN}), ["item 1", "'start'", "nan"]),
    "NaN in a text": ("tvqa", rows_of("tvqa", TVQA | {"ts": "12.5-nan"}), ["line 1", "'ts'", "'nan'"]),
    "infinite end": ("vlep", rows_of("vlep", VLEP | {"ts": [0.0, INF]}), ["line 1", "'ts'", "inf"]),
    "a year of video": ("star", rows_of("star", STAR | {"end": 1e300}), ["item 1", "'start'", "1e+300"]),
    "times as text": ("star", rows_of("star", STAR | {"start": "soon"}), ["item 1", "seconds expected, found 'soon'"]),
    "question is NaN": ("star", rows_of("star", STAR | {"question": NAN}), ["'question'", "text expected, found nan"]),
    "question is a list": ("tvqa", rows_of("tvqa", TVQA | {"q": ["q"]}), ["line 1", "'q'", "text expected"]),
    "question is null": ("star", rows_of("star", STAR | {"question": None}), ["'question'", "text expected"]),
    "option is null": ("tvqa", rows_of("tvqa", TVQA | {"a3": None}), ["line 1", "'a3'", "text expected"]),
    "event is a number list": ("vlep", rows_of("vlep", VLEP | {"events": ["a", [1]]}), ["'events'", "found [1]"]),
    "choice is null": (
        "star",
        rows_of("star", STAR | {"choices": [{"choice_id": 0, "choice": None}], "answer": "None"}),
        ["'choices'", "found None"],
    ),
    "choice ids of two kinds": (
        "star",
        rows_of("star", STAR | {"choices": [{"choice_id": 0, "choice": "a"}, {"choice_id": "1", "choice": "b"}]}),
        ["'choices'", "put in order"],
    ),
    "answer out of range": ("tvqa", rows_of("tvqa", TVQA | {"answer_idx": 5}), ["line 1", "'answer_idx'", "0..4"]),
    "negative answer": ("vlep", rows_of("vlep", VLEP | {"answer": -1}), ["line 1", "'answer'", "0..1"]),
    "answer is a fraction": ("tvqa", rows_of("tvqa", TVQA | {"answer_idx": 1.5}), ["whole number from 0 to 4"]),
    "answer to be evaluated": (
        "tvqa",
        rows_of("tvqa", TVQA | {"answer_idx": "__import__('os').mkdir('HARM')"}),
        ["whole number from 0 to 4"],
    ),
    "duplicate uid": ("tvqa", rows_of("tvqa", TVQA, TVQA), ["1 ids occur more than once", "tvqa/val/1"]),
    "shots the wrong way": (
        "dramaqa",
        rows_of("dramaqa", DRAMA | {"shot_contained": [9, 3]}),
        ["'shot_contained'", "must not come after"],
    ),
    "billions of shots": ("dramaqa", rows_of("dramaqa", DRAMA | {"shot_contained": [0, 10**12]}), ["0..9999"]),
    "no rows": ("tvqa", "\n\n", ["has no rows"]),
    "row is a list": ("vlep", "[1, 2]\n", ["line 1", "an object with named fields expected, found list"]),
    "cut off": ("tvqa", rows_of("tvqa", TVQA)[:-10], ["tvqa_val.jsonl:1: not a line of JSON"]),
    "nested too deeply": ("star", "[" * 100_000, ["STAR_val.json", "nested too deeply"]),
    "line nested too deeply": ("tvqa", '{"q": ' * 100_000, ["tvqa_val.jsonl:1"]),
    "Latin-1 json": ("star", rows_of("star", STAR).replace("tidied", "é").encode("latin-1"), ["UTF-8"]),
    "Latin-1 lines": ("tvqa", '{"q": "é"}\n'.encode("latin-1"), ["tvqa_val.jsonl", "UTF-8"]),
    "Latin-1 csv": ("nextqa", (HEAD + "7,1,1,1,é,1,0,CW,a,b,c,d,e\n").encode("latin-1"), ["val.csv", "UTF-8"]),
    "UTF-16 csv": ("nextqa", HEAD.encode("utf-16"), ["val.csv", "UTF-8"]),
    "a cell of 200 kB": ("nextqa", f"{HEAD}7,1,1,1,{'q' * 200_000},1,0,CW,a,b,c,d,e\n", ["field larger than"]),
    "a pickle": ("tvqa", bytes.fromhex("80049504"), ["tvqa_val.jsonl"]),
}


def samples(name, root):
    return DATASETS.load(name)(DatasetConfig(root=str(root))).samples("val")


@pytest.mark.parametrize(("name", "content", "says"), CASES.values(), ids=CASES)
def test_one_clear_error(name, content, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / FILES[name]).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as caught:
        samples(name, tmp_path)
    assert all(part in str(caught.value) for part in says), caught.value
    assert len(str(caught.value)) < 600 and not (tmp_path / "HARM").exists()


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("tvqa", [TVQA | {"ts": "nan-nan"}]),
        ("star", [without(without(STAR, "start"), "end")]),
        ("vlep", [VLEP | {"ts": [NAN, NAN]}]),
    ],
)
def test_no_times_at_all_mean_the_whole_video(name, rows, tmp_path):
    (tmp_path / FILES[name]).write_text(rows_of(name, *rows))
    assert samples(name, tmp_path)[0].span is None


def test_a_byte_order_mark_is_passed_over(tmp_path):
    (tmp_path / FILES["star"]).write_text(rows_of("star", STAR), encoding="utf-8-sig")
    (tmp_path / FILES["tvqa"]).write_text(rows_of("tvqa", TVQA), encoding="utf-8-sig")
    assert len(samples("star", tmp_path)) == len(samples("tvqa", tmp_path)) == 1


def test_maps_of_names_that_are_none(tmp_path):
    (tmp_path / "val.csv").write_text(HEAD + "7,1,1,1,q,1,0,CW,a,b,c,d,e\n")
    for content in ("[1]", '{"7": 3}'):
        (tmp_path / "map_vid_vidorID.json").write_text(content)
        with pytest.raises(DataError, match="an object from video to file name expected"):
            samples("nextqa", tmp_path)


@pytest.mark.parametrize("times", [{"start": NAN}, {"start": INF}, {"start": "x"}, {}])
def test_subtitles_without_times(times, tmp_path):
    (tmp_path / FILES["tvqa"]).write_text(rows_of("tvqa", TVQA))
    line = {"vid_name": "v", "sub": [{"end": 2.0, "text": "hi"} | times]}
    (tmp_path / "tvqa_preprocessed_subtitles.jsonl").write_text(json.dumps(line))
    with pytest.raises(DataError, match=r"line 1, field 'sub'"):
        DATASETS.load("tvqa")(DatasetConfig(root=str(tmp_path), subtitles=True)).samples("val")


def test_file_that_may_not_be_read(nobody):
    root, become = nobody
    (root / FILES["tvqa"]).write_text(rows_of("tvqa", TVQA))
    assert len(samples("tvqa", root)) == 1  # imports everything that is needed while that is still allowed
    (root / FILES["tvqa"]).chmod(0)
    become()
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        samples("tvqa", root)
