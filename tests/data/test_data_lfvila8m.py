"""LF-VILA-8M: records from jsonl and tar, values that are never run, runs of neighbouring clips."""

import importlib.util
import io
import json
import tarfile
from pathlib import Path

import pytest
import torch
from video_files import make_video

from vidalign.common.errors import DataError, MediaError
from vidalign.data.sets.config import DatasetConfig
from vidalign.data.sets.lfvila8m import LFVila8M, literal_record
from vidalign.media.load import MediaLoader
from vidalign.media.spec import MediaSpec

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


def test_lmdb_is_read_and_never_run(tmp_path):
    lmdb = pytest.importorskip("lmdb", reason="pip install .[lmdb]")
    rows = [[{"clip_id": f"v{number}.{k}.mp4", "text": f"t{k}"} for k in range(4)] for number in range(12)]
    (tmp_path / "val.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code = f"open({str(tmp_path / 'made')!r}, 'w')"
    for name, values in (("train_db", rows), ("bad_db", [code])):
        with lmdb.open(str(tmp_path / name)) as db, db.begin(write=True) as view:
            for number, value in enumerate(values):
                view.put(str(number).encode(), (value if value is code else repr(value)).encode())
    builder = LFVila8M(DatasetConfig(root=str(tmp_path)))
    val, train = builder.samples("val"), builder.samples("train")
    assert [(one.media, one.texts) for one in train] == [(one.media, one.texts) for one in val]
    with pytest.raises(DataError, match="nothing in it was run"):
        builder.samples("bad")
    assert not (tmp_path / "made").exists()


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
    prep = prep_module("lfvila8m")

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


def packed(tmp_path, records=3):
    """Records whose clips lie in shards of two records."""
    rows = []
    for number in range(records):
        rows.append([{"clip_id": f"v{number}.{k}.mp4", "text": f"v{number} t{k}"} for k in range(4)])
        (tmp_path / f"videos/v{number}").mkdir(parents=True)
        for k in range(4):
            make_video(tmp_path / f"videos/v{number}/v{number}.{k}.mp4", frames=6 + k, fps=3)
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["--records", str(tmp_path / "train.jsonl"), "--videos", str(tmp_path / "videos")]
    prep_module("lfvila8m_shards").main([*arguments, "--output", str(tmp_path / "s/train"), "--records-per-shard", "2"])


def test_clips_in_shards_are_the_clips_of_files(tmp_path, capsys):
    packed(tmp_path)
    assert "3 records in 2 shards, 0 left out" in capsys.readouterr().out
    spec = MediaSpec(kind="frames", num_frames=8, transform="untouched", clips=4)
    loaded = []
    for root in (tmp_path, tmp_path / "s"):
        builder = LFVila8M(DatasetConfig(root=str(root)))
        media = MediaLoader(spec, media_root=builder.media_root, decoder="pyav")
        samples = builder.samples("train")
        loaded.append((samples, [media.load(sample).tensor for sample in samples]))
    (files, from_files), (shards, from_shards) = loaded
    assert [(one.uid, one.texts) for one in files] == [(one.uid, one.texts) for one in shards]
    assert all(torch.equal(one, two) for one, two in zip(from_files, from_shards, strict=True))


def test_shards_that_cannot_be_used_are_told(tmp_path):
    packed(tmp_path, records=2)
    [shard] = (tmp_path / "s").glob("*.tar")
    sample = LFVila8M(DatasetConfig(root=str(tmp_path / "s"))).samples("train")[1]
    media = MediaLoader(MediaSpec(kind="frames", num_frames=8, transform="untouched", clips=4), decoder="pyav")
    shard.write_bytes(shard.read_bytes()[:20000])
    with pytest.raises(MediaError, match="cut off"):
        media.load(sample)
    shard.unlink()
    with pytest.raises(MediaError, match="No such file"):
        media.load(sample)
    with tarfile.open(shard, "w") as made:
        for name, content in (("0.json", json.dumps(CLIPS).encode()), ("0.0.mp4", b"x"), ("0.2.mp4", b"x")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
    with pytest.raises(DataError, match="5 clips, its videos in the shard are numbered 0, 2"):
        LFVila8M(DatasetConfig(root=str(tmp_path / "s"))).samples("train")
    shard.write_bytes(b"no tar")
    with pytest.raises(DataError, match="uncompressed tar"):
        LFVila8M(DatasetConfig(root=str(tmp_path / "s"))).samples("train")


def prep_module(name):
    path = Path(__file__).resolve().parents[2] / "data_prep" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"{name}_prep", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
