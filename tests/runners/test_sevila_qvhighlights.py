"""SeViLA's localizer on real QVHighlights rows: trained and evaluated from the release files, over made videos."""

import json
import math

import numpy as np
import pytest

from vidalign.config.load import load
from vidalign.media.video_writer import write_mp4
from vidalign.registry import RUNNERS

ROWS = {"train": 2, "val": 4}


@pytest.fixture(scope="module")
def root(shared, tmp_path_factory):
    """The first rows of each release file; every video as long as its row says, one picture a second."""
    folder, rng = tmp_path_factory.mktemp("qvhighlights"), np.random.default_rng(0)
    (folder / "videos").mkdir()
    for split, count in ROWS.items():
        name = f"highlight_{split}_release.jsonl"
        lines = (shared / "data/annotations/qvhighlights" / name).read_text().splitlines()[:count]
        (folder / name).write_text("\n".join(lines) + "\n")
        for row in map(json.loads, lines):
            frames = rng.integers(0, 256, (int(row["duration"]), 32, 32, 3), dtype=np.uint8)
            write_mp4(folder / "videos" / f"{row['vid']}.mp4", frames, fps=1)
    return folder


def run(root, out, monkeypatch, repository):
    monkeypatch.chdir(repository)
    tiny = ["model.size=tiny", "model.weights.format=random", "model.num_frames=8", "datasets.qvhighlights.eval=val"]
    tiny += [f"model.weights.{name}=null" for name in ("t5", "t5_tokenizer", "bert_tokenizer")]
    given = [f"datasets.qvhighlights.root={root}", "datasets.qvhighlights.videos=videos", f"paths.cache={root}/cache"]
    fast = ["run.max_epochs=1", "run.batch_size_per_gpu=2", "run.num_workers=0", "run.device=cpu", "run.precision=fp32"]
    experiment = load("configs/sevila/qvhighlights_train.yaml", [*tiny, *given, *fast, f"run.output_dir={out}"])
    RUNNERS.load(experiment.run.runner)(experiment).train()
    metrics = json.loads((out / "metrics.json").read_text())["qvhighlights/val"]
    lines = (out / "predictions/qvhighlights/val.jsonl").read_text().splitlines()
    return metrics, [json.loads(line) for line in lines]


def test_real_rows_get_windows_saliency_and_the_official_metrics(root, tmp_path, monkeypatch, repository):
    metrics, records = run(root, tmp_path, monkeypatch, repository)
    rows = [json.loads(line) for line in (root / "highlight_val_release.jsonl").read_text().splitlines()]
    assert [record["uid"] for record in records] == [f"qvhighlights/val/{row['qid']}" for row in rows]
    for record, row in zip(records, rows, strict=True):
        assert record["status"] == "ok" and record["windows"]
        for start, end, score in record["windows"]:
            assert 0 <= start < end <= row["duration"] + 2 and math.isfinite(score)
        assert len(record["saliency"]) == math.ceil(row["duration"] / 2) and len(record["kept_frames"]) == 8
    assert {"R1@0.5", "R1@0.7"} <= set(metrics) and 0 <= metrics["R1@0.5"] <= 100 and metrics["failed"] == 0
