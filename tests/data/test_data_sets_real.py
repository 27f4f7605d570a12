"""Every builder on the real annotation rows of the shared folder."""

from __future__ import annotations

import csv
import json
import pickle
from collections import Counter
from pathlib import Path

import pytest

from vidalign.common.errors import DataError
from vidalign.common.sample import Sample, read_samples, write_samples
from vidalign.data.sets.config import DatasetConfig
from vidalign.registry import DATASETS

# dataset, folder, split, file
REAL = [
    ("nextqa", "nextqa_mc", "val", "val.csv"),
    ("nextqa", "nextqa_mc", "test", "test.csv"),
    ("star", "star", "train", "STAR_train.json"),
    ("how2qa", "how2qa", "val", "how2QA_val_release.csv"),
    ("how2qa", "how2qa", "test_public", "how2QA_test_public_release.csv"),
    ("vlep", "vlep", "val", "vlep_dev_release.jsonl"),
    ("vlep", "vlep", "test", "vlep_test_release.jsonl"),
    ("tvqa", "tvqa", "val", "tvqa_val.jsonl"),
    ("tvqa", "tvqa", "test_public", "tvqa_test_public.jsonl"),
    ("egoschema", "egoschema", "subset", "questions.json"),
    ("egoschema", "egoschema", "full", "questions.json"),
]
HIDDEN = {("egoschema", "full"), ("vlep", "test"), ("tvqa", "test_public")}


def read(shared: Path, name: str, folder: str, split: str, **settings: object) -> list[Sample]:
    config = DatasetConfig(root=str(shared / "data/annotations" / folder), **settings)
    return DATASETS.load(name)(config).samples(split)


def rows_in(path: Path) -> int:
    if path.suffix == ".json":
        return len(json.loads(path.read_text()))
    if path.suffix == ".jsonl":
        return sum(1 for line in path.read_text().splitlines() if line.strip())
    rows = sum(1 for _ in csv.reader(path.open(newline="")))
    return rows - (0 if path.name.startswith("how2QA") else 1)


@pytest.mark.parametrize(("name", "folder", "split", "file"), REAL)
def test_every_row_becomes_a_sample(
    name: str, folder: str, split: str, file: str, shared: Path, tmp_path: Path
) -> None:
    samples = read(shared, name, folder, split)
    assert len(samples) == rows_in(shared / "data/annotations" / folder / file)
    assert all(s.uid.startswith(f"{name}/{split}/") and s.task == "mc_qa" for s in samples)
    assert all((s.answer_idx is None) == ((name, split) in HIDDEN) for s in samples)
    assert all(s.answer == s.options[s.answer_idx] for s in samples if s.answer_idx is not None)
    write_samples(tmp_path / "samples.jsonl", samples)
    assert [s.uid for s in read_samples(tmp_path / "samples.jsonl")] == [s.uid for s in samples]
    assert pickle.loads(pickle.dumps(samples[0])) == samples[0]


@pytest.mark.parametrize(("name", "folder", "split", "file"), REAL)
def test_published_counts_are_compared(name: str, folder: str, split: str, file: str, shared: Path) -> None:
    with pytest.raises(DataError, match=rf"{name}/{split}: \d+ rows, the published file has \d+"):
        read(shared, name, folder, split, expect_counts=True)


def test_nextqa(shared: Path) -> None:
    samples = read(shared, "nextqa", "nextqa_mc", "val")
    first = samples[0]
    assert first.uid == "nextqa/val/4260763967_4"
    assert first.question == "why is the boy in yellow reaching out to things on the green mat"
    assert first.options[first.answer_idx] == "assembling parts to build toy"
    assert (first.media.path, first.media.video_id, first.qtype) == ("1106/4260763967.mp4", "4260763967", "CW")
    assert first.meta == {"row": 0, "frame_count": "1017", "width": "640", "height": "480"}
    info = DATASETS.load("nextqa").info
    assert {s.qtype for s in samples} == {t for types in info.groups.values() for t in types} - {"DB"}
    assert any(len(set(s.options)) < 5 for s in samples), "rows with two equal options are kept"
    assert len(read(shared, "nextqa", "nextqa_mc", "val", max_samples=7)) == 7


def test_star_drops_the_graphs(shared: Path) -> None:
    [sample] = read(shared, "star", "star", "train")
    assert (sample.qtype, sample.span, sample.answer_idx) == ("Interaction", (7.7, 15.7), 0)
    assert sample.options == ("The sandwich.", "The medicine.", "The blanket.", "The box.")
    assert dict(sample.meta) == {"row": 0, "question_id": "Interaction_T1_4"}


def test_how2qa_authors_file(shared: Path) -> None:
    official = read(shared, "how2qa", "how2qa", "val", official_order=True)
    assert official[0].span == (214.42, 234.7)
    assert official[0].options == ("Yellow", "blue", "green", "blue")
    assert {s.answer_idx for s in official} == {0}, "the last column is right, and put first as in FrozenBiLM"
    assert any("None" in s.options for s in official), "None is an option, not a missing value"
    shuffled = read(shared, "how2qa", "how2qa", "val")
    assert [s.options for s in shuffled] == [s.options for s in read(shared, "how2qa", "how2qa", "val")]
    places = Counter(s.answer_idx for s in shuffled)
    assert min(places.values()) > len(shuffled) / 8, places
    for before, after in zip(official, shuffled, strict=True):
        order = after.meta["option_order"]
        assert tuple(before.options[place] for place in order) == after.options
        assert (order[after.answer_idx], after.answer) == (before.answer_idx, before.answer)


def test_vlep(shared: Path) -> None:
    samples = read(shared, "vlep", "vlep", "val")
    assert samples[0].uid == "vlep/val/20539"
    assert (samples[0].span, samples[0].question, samples[0].subtitles) == ((6.41, 12.82), None, None)
    assert samples[0].media.path == "s03e17_seg02_clip_09.mp4"
    tube = next(s for s in samples if ":" in s.media.video_id)
    assert tube.media.path == f"vlep_ytb_clips/{tube.media.video_id}.mp4"


def test_tvqa_whole_clips(shared: Path) -> None:
    samples = read(shared, "tvqa", "tvqa", "test_public")
    assert samples[0].uid == "tvqa/test_public/137317" and samples[0].span == (0.0, 57.32)
    assert [s.uid for s in samples if s.span is None] == ["tvqa/test_public/137648", "tvqa/test_public/142977"]


def test_clips(shared: Path) -> None:
    builder = DATASETS.load("clips")(DatasetConfig(root=str(shared / "data")))
    samples = builder.samples("val")
    assert len(samples) == 25 and len({s.uid for s in samples}) == 25
    assert samples[0].uid == "clips/val/flipping_a_pancake_0"
    assert all((builder.media_root / s.media.path).is_file() for s in samples)
    assert {s.media.kind for s in samples} == {"video"} and builder.feature_path is None


def test_clips_without_map_or_file(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "videos").mkdir()
    header, first, *rest = (shared / "data/clips/val.csv").read_text().splitlines()
    (tmp_path / "clips/val.csv").write_text("\n".join([header, first, rest[-1]]))
    (tmp_path / "videos/flipping_a_pancake.webm").touch()
    samples = DATASETS.load("clips")(DatasetConfig(root=str(tmp_path))).samples("val")
    assert samples[0].media.path == "flipping_a_pancake.webm"
    assert samples[1].media.path == f"{samples[1].media.video_id}.mp4", "a missing video is no error of the file"


# dataset, folder or file, split -> number of samples in the shared part
MORE = {
    ("nextqa_oe", "nextqa_oe"): {"val": 168, "test": 126},
    ("activitynet_qa", "activitynet_qa"): {"train": 300, "val": 240, "test": 160},
    ("qvhighlights", "qvhighlights"): {"train": 20, "val": 65, "test": 20},
    ("tgif_qa", "tgif_qa/Test_action_question.csv"): {"test": 60},
    ("tgif_qa", "tgif_qa/Test_transition_question.csv"): {"test": 120},
    ("tgif_qa", "tgif_qa/Test_frameqa_question.csv"): {"test": 133},
    ("tgif_qa", "tgif_qa/Test_count_question.csv"): {"test": 60},
    ("tgif_qa", "tgif_qa/txt_tgif-action.json"): {"train": 100, "val": 25, "test": 25},
    ("msvd_qa", "msvd"): {"train": 100, "val": 25, "test": 25},
    ("activitynet_captions", "activitynet_captions"): {"val_1": 45, "val_2": 43},
    ("didemo", "didemo"): {"val": 30, "test": 30},
    ("condensed_movies", "condensed_movies"): {"train": 97, "val": 42, "test": 62},
    ("queryd", "queryd"): {"links": 60},
    ("coin", "coin"): {"train": 1},
}


@pytest.mark.parametrize(("name", "place"), MORE, ids=[f"{name}-{place.rpartition('/')[2]}" for name, place in MORE])
def test_every_file_of_the_others(name: str, place: str, shared: Path) -> None:
    from vidalign.runners.annotations import read_annotations

    found = {one.found.split: one for one in read_annotations(shared / "data/annotations" / place, dataset=name)}
    assert {split: len(one.samples) for split, one in found.items()} == MORE[name, place]
    assert not any(one.builder.left_out for one in found.values()), "no row of the real files is left out"


def test_lvu_has_nine_tasks(shared: Path) -> None:
    from vidalign.runners.annotations import read_annotations

    found = list(read_annotations(shared / "data/annotations/lvu", dataset="lvu"))
    assert len(found) == 27
    for one in found:
        assert len(one.samples) == rows_in(one.found.path)
    [writer] = [one for one in found if one.found.settings["task"] == "writer" and one.found.split == "train"]
    assert writer.samples[0].answer == "\\N"


def test_didemo_names_with_other_suffixes(shared: Path) -> None:
    from vidalign.runners.annotations import read_annotations

    for one in read_annotations(shared / "data/annotations/didemo", dataset="didemo"):
        rows = json.loads(one.found.path.read_text())
        assert sum(len(sample.texts) for sample in one.samples) == len(rows)
        listed = (shared / "data/annotations/didemo" / f"{one.found.split}_list.txt").read_text().split()
        assert {sample.media.path for sample in one.samples} == set(listed)
        other = [s for s in one.samples if s.media.path not in s.meta["names"]]
        assert other, "one video of each file is named otherwise than in the list"


def test_activitynet_captions_segments_end_with_the_video(shared: Path) -> None:
    from vidalign.data.check import findings
    from vidalign.runners.annotations import read_annotations

    for one in read_annotations(shared / "data/annotations/activitynet_captions", dataset="activitynet_captions"):
        assert any("corrected" in sample.meta for sample in one.samples)
        assert "with a segment beyond the end of the video" not in findings(one.samples)
        assert not any(text != text.strip() for sample in one.samples for text in sample.texts)
