"""`shapes` as a dataset: real mp4 files, and the same questions through other benchmarks' builders."""

import json
import subprocess
import sys

import numpy as np
import pytest

from vidalign.common.errors import DataError
from vidalign.common.sample import read_samples
from vidalign.data.sets.config import DatasetConfig
from vidalign.data.sets.nextqa import NextQA
from vidalign.data.sets.star import Star
from vidalign.data.shapes.builder import Shapes
from vidalign.data.shapes.config import ShapesConfig
from vidalign.data.shapes.draw import draw
from vidalign.data.shapes.formats import write_all
from vidalign.data.shapes.samples import TASKS
from vidalign.media.video import open_video


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    config = ShapesConfig(root=str(tmp_path_factory.mktemp("shapes")), num_test=28, workers=1)
    builder = Shapes(config)
    return builder, builder.samples("test")


def test_videos_are_decoded_as_they_were_drawn(built):
    builder, samples = built
    clip = builder.clips("test")[0]
    with open_video(builder.media_root / samples[0].media.path, decoder="pyav") as video:
        assert (video.num_frames, video.fps, video.width, video.height) == (30, 10.0, 64, 64)
        frames = video.frames(list(range(30))).numpy().astype(int)
    assert np.abs(frames - draw(clip)).mean() < 6


def test_nothing_is_drawn_twice(built):
    builder, samples = built
    before = {path: path.stat().st_mtime_ns for path in builder.media_root.iterdir()}
    assert len(before) == 28
    assert [sample.uid for sample in builder.samples("test")] == [sample.uid for sample in samples]
    assert {path: path.stat().st_mtime_ns for path in builder.media_root.iterdir()} == before


def test_unknown_split_is_told(built):
    with pytest.raises(DataError, match="Did you mean 'test'"):
        built[0].samples("tset")


def test_same_questions_through_other_builders(built, tmp_path):
    builder, samples = built
    write_all(builder.clips("test"), "test", tmp_path, seed=0)
    same = ("question", "options", "answer_idx", "answer", "qtype")
    through = NextQA(DatasetConfig(root=str(tmp_path / "nextqa"), videos=str(builder.media_root.resolve())))
    read = through.samples("test")
    assert [[getattr(s, f) for f in same] for s in read] == [[getattr(s, f) for f in same] for s in samples]
    assert [s.media.video_id for s in read] == [s.media.video_id for s in samples]
    assert all((through.media_root / s.media.path).is_file() for s in read)
    star = Star(DatasetConfig(root=str(tmp_path / "star"))).samples("test")
    assert [(s.options, s.answer_idx) for s in star] == [(s.options, s.answer_idx) for s in samples]


def test_every_task_is_written_and_read_back(built, tmp_path):
    builder, _ = built
    clips = builder.clips("test")
    write_all(clips, "test", tmp_path, seed=0)
    for task, make in TASKS.items():
        read = read_samples(tmp_path / "unified" / f"test_{task}.jsonl")
        assert read == [sample for clip in clips for sample in make(clip, "test")] and read
    rows = [json.loads(line) for line in (tmp_path / "lf_vila" / "test.jsonl").read_text().splitlines()]
    assert all(len(row["text"]) == 4 for row in rows) and len({row["clip_id"] for row in rows}) == len(rows)
    moments = (tmp_path / "qvhighlights" / "highlight_test_release.jsonl").read_text().splitlines()
    for row in map(json.loads, moments):
        seconds = sum(end - start for start, end in row["relevant_windows"])
        assert len(row["relevant_clip_ids"]) == round(seconds / 0.3) == len(row["saliency_scores"])


def test_controls_show_nothing_or_one_frame(tmp_path):
    for blind, distinct in (("blank", 1), ("frame", 1)):
        builder = Shapes(ShapesConfig(root=str(tmp_path), num_test=1, workers=1, blind=blind))
        [sample, *_] = builder.samples("test")
        with open_video(builder.media_root / sample.media.path, decoder="pyav") as video:
            frames = video.frames([0, 15, 29]).numpy().astype(int)
        assert np.abs(frames - frames[:1]).mean() < 2 and len(np.unique(frames[:, 0, 0])) >= distinct
        assert (frames.max() < 30) == (blind == "blank")


def test_the_command_writes_clips_and_files_of_every_task(repository, tmp_path):
    options = ["--splits", "test", "--options", "datasets.shapes.num_test=6", "datasets.shapes.workers=1"]
    command = [sys.executable, "data_prep/shapes.py", "--output", str(tmp_path), *options]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    read = NextQA(DatasetConfig(root=str(tmp_path / "nextqa"), videos="../videos"))
    samples = read.samples("test")
    assert samples and all((read.media_root / s.media.path).is_file() for s in samples)
    paired = [json.loads(line) for line in (tmp_path / "lf_vila" / "test.jsonl").read_text().splitlines()]
    assert all((tmp_path / "videos" / f"{row['clip_id']}.mp4").is_file() for row in paired)
    assert "nextqa/test.csv" in done.stdout and "8 clips" in done.stdout
