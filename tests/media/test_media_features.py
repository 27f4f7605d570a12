"""Feature store: official dictionaries and own shards, memory-mapped, safe, resumable, shared between processes."""

import json
import multiprocessing
import os
import pickle
from pathlib import Path

import pytest
import torch

from vidalign.common.errors import DataError, MediaError
from vidalign.media.feature_writer import FeatureWriter, estimate_bytes
from vidalign.media.features import FeatureStore

INFO = {"encoder": "tiny", "encoder_key": "k", "fps": 2.0, "decoder": "decord 0.6.0"}
DIM = 6


def rows_of(seed, count):
    return torch.randn(count, DIM, generator=torch.Generator().manual_seed(seed)).half()


@pytest.fixture
def official(tmp_path):
    path = tmp_path / "clipvitl14.pth"
    torch.save({"a": rows_of(0, 4), "b": rows_of(1, 9)}, path)
    return path


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "store"
    with FeatureWriter(path, dim=DIM, info=INFO, shard_videos=2) as writer:
        for seed, video_id in enumerate(["a", "b", "c/d e"]):
            writer.add(video_id, rows_of(seed, seed + 3), source=f"file{seed}")
        writer.fail("broken", "frame 3 of 9 cannot be decoded", source="file9")
    return path


def test_official_dictionary_is_mapped_not_copied(official):
    store = FeatureStore.open(official)
    assert (store.dim, store.fps, len(store), sorted(store)) == (DIM, None, 2, ["a", "b"])
    assert torch.equal(store.rows("b"), rows_of(1, 9)) and store.rows("b").dtype == torch.float16
    assert store.rows("b").data_ptr() == FeatureStore.open(official).rows("b").data_ptr()  # one mapping per process
    # The page is in the file's mapping, not on the heap.
    address = store.rows("b").data_ptr()
    lines = [line for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(official.name)]
    spans = [[int(part, 16) for part in line.split()[0].split("-")] for line in lines]
    assert any(low <= address < high for low, high in spans)


def test_either_official_name_of_how2qa(official):
    other = official.with_name("clipvitl14_split.pth")
    assert "a" in FeatureStore.open(other)
    official.rename(other)
    assert "a" in FeatureStore.open(official)


def test_old_file_format_is_read_too(tmp_path):
    torch.save({"a": rows_of(0, 4)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert torch.equal(FeatureStore.open(tmp_path / "old.pth").rows("a"), rows_of(0, 4))


class _Hostile:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("zipped", [True, False])
def test_hostile_pickle_is_not_run(tmp_path, zipped):
    path, mark = tmp_path / "evil.pth", tmp_path / "was_run"
    torch.save({"a": _Hostile(mark)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(DataError, match="only tensors are allowed"):
        FeatureStore.open(path).rows("a")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list, expected a dictionary"),
        ({"a": [1.0, 2.0]}, "entry 'a' is a list, expected a tensor"),
    ],
)
def test_wrong_content(tmp_path, content, message):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(DataError, match=message):
        FeatureStore.open(tmp_path / "x.pth").rows("a")


def test_files_that_are_no_store(tmp_path):
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(DataError, match=r"text\.pth: not a feature dictionary"):
        FeatureStore.open(tmp_path / "text.pth").rows("a")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no store\.json in this folder"):
        FeatureStore.open(tmp_path / "empty")
    with pytest.raises(DataError, match=r"no such feature file.*extract_features\.py"):
        FeatureStore.open(tmp_path / "absent.pth")


def test_missing_id_and_wrong_shape(official):
    with pytest.raises(MediaError, match=r"no features for 'aa' in clipvitl14\.pth \(nearest id: 'a'\)"):
        FeatureStore.open(official).rows("aa")
    torch.save({"a": torch.zeros(5)}, official.with_name("flat.pth"))
    with pytest.raises(MediaError, match=r"shape \(5,\), not \(rows, width\)"):
        FeatureStore.open(official.with_name("flat.pth")).rows("a")


def test_shards_round_trip(folder):
    store = FeatureStore.open(folder)
    assert (store.dim, store.fps, len(store), store.info["encoder"]) == (DIM, 2.0, 3, "tiny")
    for seed, video_id in enumerate(["a", "b", "c/d e"]):
        assert torch.equal(store.rows(video_id), rows_of(seed, seed + 3))
        assert store.failed(video_id) is None and store.source(video_id) == f"file{seed}"
    assert store.failures() == {"broken": "frame 3 of 9 cannot be decoded"}
    assert "broken" not in store and store.failed("never tried") is None
    with pytest.raises(MediaError, match="^frame 3 of 9 cannot be decoded$"):
        store.rows("broken")
    assert len(list(folder.glob("shard-*.npy"))) == 2


def test_pickle_carries_only_the_path(folder, official):
    for path in (folder, official):
        store = FeatureStore.open(path)
        store.rows("a")
        again = pickle.loads(pickle.dumps(store))
        assert len(pickle.dumps(store)) < 500
        assert torch.equal(again.rows("b"), store.rows("b"))


def _read(job):
    store, video_id = job
    return os.getpid(), store.rows(video_id).float().sum().item()


@pytest.mark.parametrize("kind", ["shards", "official"])
def test_two_processes_read_the_same_store(folder, official, kind):
    store = FeatureStore.open(folder if kind == "shards" else official)
    expected = store.rows("b").float().sum().item()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        answers = pool.map(_read, [(store, "b")] * 8, chunksize=4)
    assert all(value == expected for _, value in answers)
    assert os.getpid() not in {pid for pid, _ in answers}


def test_writer_continues_and_refuses_another_encoder(folder):
    with FeatureWriter(folder, dim=DIM, info=INFO) as writer:
        assert writer.is_done("a", "file0") and writer.is_done("broken", "file9")
        assert not writer.is_done("a", "changed file") and not writer.is_done("new", "file7")
        writer.add("a", rows_of(50, 2), source="changed file")
    store = FeatureStore.open(folder)
    assert torch.equal(store.rows("a"), rows_of(50, 2)) and torch.equal(store.rows("b"), rows_of(1, 4))
    with pytest.raises(DataError, match="made with encoder_key = 'k', not 'other'"):
        FeatureWriter(folder, dim=DIM, info={**INFO, "encoder_key": "other"})
    with pytest.raises(DataError, match="made with dim = 6, not 7"):
        FeatureWriter(folder, dim=7, info=INFO)


def test_killed_writer_leaves_whole_shards_only(tmp_path, monkeypatch):
    writer = FeatureWriter(tmp_path / "s", dim=DIM, info=INFO, shard_videos=2)
    for seed, video_id in enumerate("abc"):
        writer.add(video_id, rows_of(seed, 3))
    with pytest.raises(KeyboardInterrupt), writer:  # "c" was not written yet
        raise KeyboardInterrupt
    assert sorted(FeatureStore.open(tmp_path / "s")) == ["a", "b"]

    def no_space(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    second = FeatureWriter(tmp_path / "s", dim=DIM, info=INFO)
    second.add("c", rows_of(2, 3))
    monkeypatch.setattr("vidalign.common.io.os.replace", no_space)
    with pytest.raises(OSError, match="No space left"):
        second.flush()
    monkeypatch.undo()
    assert sorted(FeatureStore.open(tmp_path / "s")) == ["a", "b"]
    assert not list((tmp_path / "s").glob(".*.part"))
    second.flush()
    assert sorted(FeatureStore.open(tmp_path / "s")) == ["a", "b", "c"]


def test_slow_work_is_saved_by_the_clock(tmp_path):
    writer = FeatureWriter(tmp_path / "s", dim=DIM, info=INFO, shard_seconds=0.0)
    writer.add("a", rows_of(0, 3))
    assert list(FeatureStore.open(tmp_path / "s")) == ["a"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (torch.zeros(3, DIM + 1), r"shape \(3, 7\), expected \(n >= 1, 6\)"),
        (torch.zeros(0, DIM), r"shape \(0, 6\)"),
        (torch.full((2, DIM), float("nan")), "NaN or values too large for float16"),
        (torch.full((2, DIM), 1e6), "NaN or values too large for float16"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_writer_refuses_bad_rows(tmp_path, rows, message):
    writer = FeatureWriter(tmp_path / "s", dim=DIM, info=INFO)
    with pytest.raises(DataError, match=message):
        writer.add("a", rows)


def test_damaged_store_says_so(folder):
    shard = sorted(folder.glob("shard-*.npy"))[0]
    shard.write_bytes(shard.read_bytes()[:70])
    store = FeatureStore.open(folder)
    with pytest.raises(DataError, match="delete the store and make it again"):
        [store.rows(video_id) for video_id in store]
    sorted(folder.glob("shard-*.json"))[0].write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        len(FeatureStore.open(folder))
    (folder / "store.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(DataError, match="format 99, this program reads 1"):
        FeatureStore.open(folder)


def test_estimate():
    assert estimate_bytes(seconds=3600, fps=1, dim=768) == 3600 * 768 * 2
