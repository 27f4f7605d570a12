"""The numbers that the specification marks as counted in official files are those that builders compare with."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_data_captions import mvbench_row
from test_sets_open_qa import put

from vidalign.cli import main
from vidalign.data.sets.config import DatasetConfig
from vidalign.data.sets.how2qa import How2QA
from vidalign.data.sets.mvbench import TASKS
from vidalign.data.sets.tgif_qa import KINDS, TgifConfig, TgifQA
from vidalign.data.sets.video_classes import LVU_COUNTS, Lvu, LvuConfig
from vidalign.registry import DATASETS

# specification benchmarks, the figures marked [V]: dataset -> split -> Samples
COUNTED = {
    "nextqa": {"val": 4996, "test": 8564},
    "nextqa_oe": {"train": 37523, "val": 5343, "test": 9178},
    "tvqa": {"train": 122039, "val": 15253, "test_public": 7623},
    "vlep": {"train": 20142, "val": 4392, "test": 4192},
    "qvhighlights": {"train": 7218, "val": 1550, "test": 1542},
    "egoschema": {"full": 5031, "subset": 500},
    "mvbench": {"test": 4000},
    "activitynet_qa": {"train": 32000, "val": 18000, "test": 8000},
    "activitynet_captions": {"train": 10009, "val_1": 4917, "val_2": 4885},
    "didemo": {"val": 1065, "test": 1004},
    "condensed_movies": {"train": 24132, "val": 3366, "test": 6593},
    "violin": {"all": 95322},
    "lfvila8m": {"train": 8523237},
}
# ... the rows that are no Samples one to one, and the parts of a split
ROWS = {
    "activitynet_captions": {"val_1": 17505, "val_2": 17031},
    "didemo": {"val": 4180, "test": 4021},
    "queryd": {"links": 2926},
    "violin": {"all": 15887},
    "videochatgpt_tune": {"ids": 13303},
}
TYPES = {"CW": "1924/3329", "CH": "683/1173", "TN": "895/1399", "TC": "663/1165", "TP": "54/93"}
TYPES |= {"DC": "177/322", "DL": "295/483", "DO": "305/600"}
PARTS = {
    "nextqa": {
        "val": {name: int(both.split("/")[0]) for name, both in TYPES.items()} | {"videos": 570},
        "test": {name: int(both.split("/")[1]) for name, both in TYPES.items()} | {"videos": 1000},
    },
    "vlep": {"val": {"answer 0": 2145, "answer 1": 2247}},
    "qvhighlights": {"train": {"videos": 7100}, "val": {"videos": 1519}, "test": {"videos": 1529}},
    "activitynet_qa": {"train": {"videos": 3200}, "val": {"videos": 1800}, "test": {"videos": 800}},
}
HOW2QA = {"train": 35405, "val": 2852, "test_public": 2937}
TGIF = {"action": 2274, "transition": 6232, "frameqa": 13691, "count": 3554}
LVU = {
    **{"relationship": "149/53/42", "way_speaking": "939/205/201", "scene": "557/120/86", "director": "680/163/107"},
    **{"writer": "769/174/168", "year": "770/165/143", "genre": "3063/597/647", "like_ratio": "658/142/140"},
    **{"view_count": "577/124/126"},
}


@pytest.mark.parametrize("name", COUNTED)
def test_samples(name: str) -> None:
    counts = DATASETS.load(name).info.expected_counts
    assert {split: counts.get(split) for split in COUNTED[name]} == COUNTED[name]


@pytest.mark.parametrize("name", [*ROWS, *PARTS])
def test_rows_and_parts(name: str) -> None:
    builder = DATASETS.load(name)
    assert ROWS.get(name, {}).items() <= dict(builder.expected_rows).items()
    assert {split: builder.expected_parts[split] for split in PARTS.get(name, {})} == PARTS.get(name, {})
    for split, parts in PARTS.get("nextqa", {}).items() if name == "nextqa" else ():
        assert sum(count for part, count in parts.items() if part != "videos") == COUNTED["nextqa"][split]


def test_builders_whose_counts_depend_on_the_file(tmp_path: Path) -> None:
    for split, count in HOW2QA.items():
        put(tmp_path, f"how2QA_{split}_release.csv", "abc,[1:2],a,b,c,What?,d\n")
        assert How2QA(DatasetConfig(root=str(tmp_path))).expected_count(split) == count
    header = "qid,question,answer_id,video_id,a0,a1,a2,a3,start,end\n"
    put(tmp_path, "public_val.csv", header + "0,q,0,v,a,b,c,d,1,2\n")
    assert How2QA(DatasetConfig(root=str(tmp_path))).expected_count("public_val") == 2851, "one row lost as a header"
    assert set(KINDS) == set(TGIF)
    for kind, count in TGIF.items():
        assert TgifQA(TgifConfig(root=str(tmp_path), kind=kind)).expected_count("test") == count
    assert set(LVU_COUNTS) == set(LVU)
    for task, counts in LVU.items():
        builder = Lvu(LvuConfig(root=str(tmp_path), task=task))
        assert "/".join(str(builder.expected_count(split)) for split in ("train", "val", "test")) == counts


def test_the_figures_are_those_of_the_specification(shared: Path) -> None:
    text = (shared / "specs/benchmarks.md").read_text()
    numbers = [n for table in (COUNTED, ROWS) for splits in table.values() for n in splits.values()]
    numbers += [
        n for splits in PARTS.values() for parts in splits.values() for part, n in parts.items() if part == "videos"
    ]
    absent = [n for n in [*numbers, *HOW2QA.values(), *TGIF.values()] if f"{n:,}" not in text and str(n) not in text]
    assert not absent
    assert all(f"{name} {both}" in text for name, both in TYPES.items()) and "2145/2247" in text
    assert all(f"| {task} | {counts} |" in text for task, counts in LVU.items())


def test_a_complete_file_with_other_parts_is_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for task in TASKS:
        rows = [mvbench_row(question=str(n)) for n in range(200)]
        put(tmp_path, f"json/{task}.json", rows)
    assert main(["data", str(tmp_path), "--dataset", "mvbench", "--check"]) == 0
    put(tmp_path, "json/action_count.json", rows[:199])
    put(tmp_path, "json/object_shuffle.json", [*rows, rows[0]])
    capsys.readouterr()
    assert main(["data", str(tmp_path), "--dataset", "mvbench", "--check"]) == 2
    assert "201 rows of 'object_shuffle', the published file has 200" in capsys.readouterr().err
