"""LF-VILA-8M: records from jsonl and tar, values that are never run, runs of neighbouring clips."""

import importlib.util
import io
import json
import tarfile
from pathlib import Path

import pytest

from vidalign.common.errors import DataError
from vidalign.data.sets.config import DatasetConfig
from vidalign.data.sets.lfvila8m import LFVila8M, literal_record

CLIPS = [{"clip_id": f"vid.{k}.mp4", "text": f"t{k}"} for k in range(5)]


def test_records_of_jsonl_and_tar_are_equal(tmp_path):
    (tmp_path / "val.jsonl").write_text(json.dumps(CLIPS) + "\n")
    with tarfile.open(tmp_path / "train-000.tar", "w") as shard:
        member = tarfile.TarInfo("0.json")
        member.size = len(json.dumps(CLIPS))
        shard.addfile(member, io.BytesIO(json.dumps(CLIPS).encode()))
    builder = LFVila8M(DatasetConfig(root=str(tmp_path)))
    val, train = builder.samples("val")[0], builder.samples("train")[0]
    assert val.texts == train.texts == ("t0", "t1", "t2", "t3", "t4")
    assert val.media.parts[4] == "vid/vid.4.mp4"
    assert [(one.path.name, one.split) for one in LFVila8M.find(tmp_path)] == [
        ("train-000.tar", "train"),
        ("val.jsonl", "val"),
    ]


def test_short_records_are_told(tmp_path):
    (tmp_path / "val.jsonl").write_text(json.dumps(CLIPS[:3]) + "\n")
    with pytest.raises(DataError, match="four or more"):
        LFVila8M(DatasetConfig(root=str(tmp_path))).samples("val")


def test_values_are_parsed_never_run(tmp_path):
    assert literal_record("[{'clip_id': 'a', 'text': 'b'}]", where="x")[0]["text"] == "b"
    with pytest.raises(DataError, match="nothing in it was run"):
        literal_record(f"open({str(tmp_path / 'made')!r}, 'w')", where="x")
    assert not (tmp_path / "made").exists()


def test_runs_are_cut_at_gaps_and_missing_texts():
    path = Path(__file__).resolve().parents[2] / "data_prep" / "lfvila8m.py"
    spec = importlib.util.spec_from_file_location("lfvila8m_prep", path)
    prep = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(prep)

    def clip(k, start):
        span = [f"00:00:{start:06.3f}", f"00:00:{start + 5:06.3f}"]
        return {"clip_id": f"v.{k}.mp4", "span": span, "text": "" if k == 9 else f"t{k}"}

    known = {one["clip_id"]: one for one in (clip(k, 5 * k + (3 if k > 4 else 0)) for k in range(10))}
    found = list(prep.runs(list(known), known, gap_seconds=1.0))
    assert prep.lost([*known, "gone"], known, found[:1]) == {
        "not in the metadata": 1,
        "without text": 1,
        "in runs of fewer than 4": 4,
    }
    assert [[one["text"] for one in run] for run in found] == [["t0", "t1", "t2", "t3", "t4"], ["t5", "t6", "t7", "t8"]]
