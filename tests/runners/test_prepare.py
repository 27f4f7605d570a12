"""data_prep scripts, `vidalign list benchmarks`, GIF conversion."""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vidalign.cli import main
from vidalign.common.errors import DataError
from vidalign.common.sample import read_samples
from vidalign.data.sets.base import AnnotationBuilder
from vidalign.media.video_gif import convert_folder
from vidalign.registry import DATASETS
from vidalign.runners.prepare import FOLDERS, OF_OURS
from vidalign.runners.prepare import main as prepare

ROW = '{"example_id": 7, "vid_name": "a_ep", "ts": [1, 2], "events": ["x", "y"], "answer": 1}\n'


# Over videos of the developers' own; lfvila8m.py makes what its builder reads.
OTHERWISE = (*OF_OURS, "lfvila8m")


def test_every_benchmark_has_its_script(repository: Path) -> None:
    for name in DATASETS:
        script = repository / "data_prep" / f"{name}.py"
        if issubclass(DATASETS.load(name), AnnotationBuilder) and name not in OTHERWISE:
            assert f'main("{name}")' in script.read_text(), script


def test_a_script_runs(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "vlep_dev_release.jsonl").write_text(ROW + ROW.replace("7", "8").replace("a_ep", "b_ep"))
    command = [sys.executable, "data_prep/vlep.py", str(tmp_path), "--output", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True)
    assert done.returncode == 0 and "2 rows, the published file has 4392" in done.stderr, done.stderr
    assert [sample.uid for sample in read_samples(tmp_path / "out/val.jsonl")] == ["vlep/val/7", "vlep/val/8"]
    facts = json.loads((tmp_path / "out/prepared.json").read_text())["splits"][0]
    assert (facts["samples"], facts["published"], facts["left_out"]) == (2, 4392, [])
    failed = subprocess.run([*command, "--check"], cwd=repository, capture_output=True, text=True)
    assert failed.returncode == 2 and failed.stderr.startswith("error: vlep/val: 2 rows")


def test_media_are_scanned(tmp_path: Path, shared: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "videos").mkdir()
    shutil.copy(shared / "data/videos/video_90.mov", tmp_path / "videos/a.mov")
    (tmp_path / "vlep_dev_release.jsonl").write_text(ROW + ROW.replace("7", "8").replace("a_ep", "b_ep"))
    assert prepare("vlep", [str(tmp_path), "--media", str(tmp_path / "videos"), "--workers", "1"]) == 0
    shown = capsys.readouterr().out
    assert (tmp_path / "videos/vidalign-manifest.jsonl").is_file()
    line = [line for line in shown.splitlines() if line.startswith("val ")][-1]
    assert line.split() == ["val", "2", "1", "0", "0", "1"], "one there, one missing; suffixes are tried"


def test_list_benchmarks(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "vlep").mkdir()
    (tmp_path / "vlep/vlep_dev_release.jsonl").write_text(ROW)
    (tmp_path / "vlep/clipvitl14.pth").touch()
    (tmp_path / "star").mkdir()
    assert main(["list", "benchmarks", "--data-root", str(tmp_path)]) == 0
    head, *rest = capsys.readouterr().out.splitlines()
    lines = {line.split()[0]: line for line in rest}
    assert ": 1 of " in head and "found: val (clipvitl14.pth)" in lines["vlep"]
    assert "missing: no annotation file" in lines["star"] and "(STAR_{split}.json, {split}.json)" in lines["star"]
    assert "no folder" in lines["tvqa"] and "(tvqa_{split}.jsonl" in lines["tvqa"]


def test_the_folders_are_those_of_the_configs(repository: Path) -> None:
    for path in (repository / "configs/datasets").glob("*.yaml"):
        root = next(line.split("root:")[1].strip() for line in path.read_text().splitlines() if "root:" in line)
        if root.startswith("${paths.data_root}/"):
            assert root.removeprefix("${paths.data_root}/") == FOLDERS.get(path.stem, path.stem), path


def test_gifs_become_mp4(tmp_path: Path, repository: Path) -> None:
    pytest.importorskip("av")
    image = pytest.importorskip("PIL.Image")
    frames = [image.new("RGB", (33, 20), (value, 0, 255 - value)) for value in (0, 120, 255)]
    frames[0].save(tmp_path / "g.gif", save_all=True, append_images=frames[1:], duration=100)
    (tmp_path / "broken.gif").write_bytes(b"GIF89a")
    made, failed = convert_folder(tmp_path)
    assert made == 1 and list(failed) == ["broken.gif"] and convert_folder(tmp_path)[0] == 0
    from vidalign.media.video import open_video

    with open_video(tmp_path / "g.mp4", decoder="decord") as video:
        assert video.num_frames == 3 and video.frames([0]).shape == (1, 20, 34, 3)
    command = [sys.executable, "data_prep/tgif_qa.py", "--convert"]
    done = subprocess.run([*command, str(tmp_path)], cwd=repository, capture_output=True, text=True)
    assert done.returncode == 2 and "1 files are no readable GIF" in done.stderr and "broken.gif" in done.stderr
    (tmp_path / "empty").mkdir()
    for folder, says in (
        ("gon", "gon does not exist"),
        ("empty", r"no \*.gif in it"),
        ("g.gif", "is a file, a folder"),
    ):
        with pytest.raises(DataError, match=says):
            convert_folder(tmp_path / folder)


def told_by(script: str, arguments: list[str], repository: Path, capsys: pytest.CaptureFixture) -> str:
    """What a data_prep script tells a user of his mistake; it ends with 2 and no traceback."""
    sys_argv, sys.argv = sys.argv, [script, *arguments]
    try:
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(repository / "data_prep" / script), run_name="__main__")
    finally:
        sys.argv = sys_argv
    assert ended.value.code == 2
    return capsys.readouterr().err


def test_mistakes_at_an_answer_vocabulary(tmp_path: Path, repository: Path, capsys: pytest.CaptureFixture) -> None:
    def told(dataset: str, *more: str) -> str:
        arguments = ["--dataset", dataset, "--root", str(tmp_path), "--output", str(tmp_path / "a.txt"), *more]
        return told_by("answer_vocabulary.py", arguments, repository, capsys)

    assert "Did you mean 'activitynet_qa'?" in told("activitynet_qe")
    assert "tgif_qa: none of Train_frameqa_question.csv" in told("tgif_qa"), "a dataset with settings of its own"
    assert "--count -5" in told("tgif_qa", "--count", "-5")
    (tmp_path / "train.jsonl").write_text('{"video": "a", "task": "caption", "answers": ["b"]}')
    assert "none of its 1 rows has an answer" in told("own_data")
    assert not (tmp_path / "a.txt").exists()


def test_mistakes_at_lfvila8m_and_slow_videos(tmp_path: Path, repository: Path, capsys: pytest.CaptureFixture) -> None:
    def told(script: str, *arguments: str | Path) -> str:
        return told_by(script, list(map(str, arguments)), repository, capsys)

    ids, metadata, output = (tmp_path / name for name in ("ids.jsonl", "meta.jsonl", "out"))
    make = ("lfvila8m.py", "--ids", ids, "--metadata", metadata, "--output", output)
    assert "meta.jsonl: cannot be read" in told(*make)
    metadata.write_text('{"video_id": "v"}\n')
    assert "meta.jsonl:1: not a row of HD-VILA's metadata" in told(*make)
    metadata.write_text('{"video_id": "v", "clip": [{"clip_id": "c", "span": ["0:0:1"], "text": "x"}]}\n')
    ids.write_text('{"c": 1}\n')
    assert "ids.jsonl:1: a list of clip ids expected" in told(*make)
    ids.write_text('["c"]\n')
    assert "clip c: span ['0:0:1'] is no pair of hh:mm:ss.mmm" in told(*make)
    metadata.write_text(metadata.read_text().replace('"0:0:1"', '"0:0:1", "0:0:2"'))
    assert "no run of 4 clips in it: 1 clips in runs of fewer than 4" in told(*make) and not output.exists()
    records = tmp_path / "records.jsonl"
    records.write_text('[{"clip_id": "v.0.mp4", "text": "x"}]\n')
    pack = ("lfvila8m_shards.py", "--records", records, "--videos", tmp_path / "no", "--output", output)
    assert "every clip is there for none of the 1 records" in told(*pack)
    assert "--records-per-shard 0: at least 1" in told(*pack, "--records-per-shard", "0")
    slow = ("low_fps_videos.py", tmp_path / "raw", output, "--metadata")
    assert "gone.jsonl: cannot be read" in told(*slow, tmp_path / "gone.jsonl")
