"""evaluate.py on a folder of real and of broken videos: each trouble has its status and reason."""

import csv
import json
import shutil

import pytest

from vidalign.config.load import load
from vidalign.registry import RUNNERS

# file -> (status, a part of the reason)
EXPECTED = {
    "flipping_a_pancake.mkv": ("ok", None),
    "video7013.mp4": ("ok", None),
    "video_90.mov": ("ok", "padded with zeros"),
    "corrupted.mp4": ("failed", "cannot be decoded"),
    "missing.mp4": ("failed", "missing.mp4"),
    "empty.mp4": ("failed", "empty.mp4"),
    "text.mp4": ("failed", "text.mp4"),
}


@pytest.fixture(scope="module")
def folder(shared, tmp_path_factory):
    root = tmp_path_factory.mktemp("clips")
    (root / "videos").mkdir()
    (root / "clips").mkdir()
    for name in EXPECTED:
        source = shared / "data/videos" / name
        if source.is_file():
            shutil.copy(source, root / "videos" / name)
    (root / "videos/empty.mp4").touch()
    (root / "videos/text.mp4").write_text("this is no video\n" * 50)
    with open(shared / "data/clips/val.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with open(root / "clips/val.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        for number, row in enumerate(rows[: len(EXPECTED)]):
            writer.writerow(row | {"video": 900 + number, "qid": number})
    names = {str(900 + number): name for number, name in enumerate(EXPECTED)}
    (root / "clips/map_vid_file.json").write_text(json.dumps(names))
    return root


def evaluate(folder, out, *options):
    common = [f"datasets.clips.root={folder}", f"run.output_dir={out}", f"paths.cache={folder / 'cache'}"]
    experiment = load("configs/bovila/clips_eval.yaml", [*common, "run.num_workers=0", "run.device=cpu", *options])
    RUNNERS.load(experiment.run.runner)(experiment).evaluate()
    return [json.loads(line) for line in (out / "predictions/clips/val.jsonl").read_text().splitlines()]


def test_every_video_has_its_record(folder, tmp_path, repository, monkeypatch, capsys):
    monkeypatch.chdir(repository)
    records = evaluate(folder, tmp_path / "all")
    assert len(records) == len(EXPECTED)
    printed = capsys.readouterr().out
    for record, (name, (status, reason)) in zip(records, EXPECTED.items(), strict=True):
        assert record["status"] == status, (name, record)
        assert (reason in record["reason"]) if reason else "reason" not in record, (name, record)
        assert ("pred_idx" in record) == (status == "ok")
        assert not reason or (record["reason"] in printed and record["uid"] in printed), name
    metrics = json.loads((tmp_path / "all/metrics.json").read_text())["clips/val"]
    assert (metrics["samples"], metrics["failed"]) == (7, 4)

    again = evaluate(folder, tmp_path / "again")
    assert again == records, "from the cached features"
