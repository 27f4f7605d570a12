"""Feature files: what concerns one video is a counted failure, what concerns the file is one DataError."""

import json

import hostile
import numpy as np
import pytest
import torch

from vidalign.common.errors import DataError, MediaError
from vidalign.common.sample import Media, Sample
from vidalign.data.dataset import Failure, Loaded, SampleDataset, Stop
from vidalign.media.feature_writer import FeatureWriter
from vidalign.media.features import FeatureStore
from vidalign.media.load import MediaLoader
from vidalign.media.spec import MediaSpec

GOOD = torch.ones(8, 4).half()


class Plain:
    """A processor that passes the rows on."""

    def __call__(self, sample, media, *, epoch=0):
        return {"rows": media}


def entries(path, *names):
    spec = MediaSpec(kind="features", num_frames=4, feature_dim=4)
    loader = MediaLoader(spec, features=FeatureStore.open(path))
    media = [Media(kind="features", video_id=name) for name in names]
    samples = [Sample(uid=f"d/val/{m.video_id}", dataset="d", split="val", task="mc_qa", media=m) for m in media]
    dataset = SampleDataset(samples, Plain(), loader)
    return [dataset[index, 0] for index in range(len(dataset))]


ONE_VIDEO = {
    "missing id": (None, "no features for 'bad' in f.pth"),
    "NaN": (torch.full((8, 4), float("nan")), "the features of 'bad' hold NaN or infinity"),
    "infinity": (torch.full((8, 4), float("inf")).half(), "the features of 'bad' hold NaN or infinity"),
    "one NaN": (torch.cat([torch.ones(7, 4), torch.full((1, 4), float("nan"))])[[7, *range(7)]], "hold NaN"),
    "one dimension": (torch.zeros(4), "shape (4,), not (rows, width)"),
    "three dimensions": (torch.zeros(8, 4, 1), "shape (8, 4, 1), not (rows, width)"),
    "no rows": (torch.zeros(0, 4), "the file has 0 rows"),
}


@pytest.mark.parametrize(("rows", "reason"), ONE_VIDEO.values(), ids=ONE_VIDEO)
def test_one_bad_video_is_counted_and_the_others_are_there(rows, reason, tmp_path):
    content = {"good": GOOD} | ({} if rows is None else {"bad": rows})
    torch.save(content, tmp_path / "f.pth")
    first, failed, last = entries(tmp_path / "f.pth", "good", "bad", "good")
    assert isinstance(first, Loaded) and isinstance(last, Loaded)
    assert isinstance(failed, Failure) and reason in failed.reason


def test_one_video_of_another_width_stops_the_run(tmp_path):
    torch.save({"good": GOOD, "bad": torch.ones(8, 5)}, tmp_path / "f.pth")
    first, stop = entries(tmp_path / "f.pth", "good", "bad")
    assert isinstance(first, Loaded) and isinstance(stop, Stop)
    assert "rows of 'bad' are 5 wide, expected 4" in str(stop.error)


def test_a_file_of_another_width_is_told_at_once(tmp_path):
    torch.save({"good": torch.ones(8, 5)}, tmp_path / "f.pth")
    with pytest.raises(DataError, match=r"feature rows are 5 wide, the model's visual_dim is 4"):
        entries(tmp_path / "f.pth", "good")


CONTENTS = {
    "a list": ([1, 2], "holds a list"),
    "lists for tensors": ({"a": [1.0]}, "entry 'a' is a list"),
    "arrays for tensors": ({"a": {"b": torch.zeros(2)}}, "entry 'a' is a dict"),
}


@pytest.mark.parametrize(("content", "says"), CONTENTS.values(), ids=CONTENTS)
def test_files_that_are_no_features(content, says, tmp_path):
    torch.save(content, tmp_path / "f.pth")
    with pytest.raises(DataError, match=says):
        entries(tmp_path / "f.pth", "a")


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.95])
def test_cut_off_files(keep, tmp_path):
    torch.save({"a": torch.ones(500, 4)}, tmp_path / "f.pth")
    data = (tmp_path / "f.pth").read_bytes()
    (tmp_path / "f.pth").write_bytes(data[: keep if isinstance(keep, int) else int(len(data) * keep)])
    with pytest.raises(DataError, match=r"f\.pth: not a feature dictionary that can be read safely"):
        entries(tmp_path / "f.pth", "a")


@pytest.mark.parametrize("kind", hostile.KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_hostile_feature_files_do_not_run(kind, tmp_path):
    (tmp_path / "f.pth").write_bytes(kind(tmp_path / "was_run"))
    with pytest.raises(DataError, match=r"f\.pth"):
        entries(tmp_path / "f.pth", "a")
    assert not (tmp_path / "was_run").exists()


@pytest.fixture
def store(tmp_path):
    with FeatureWriter(tmp_path / "s", dim=4, info={"fps": 1.0}) as writer:
        writer.add("a", GOOD.float())
    [array], [index] = (tmp_path / "s").glob("shard-*.npy"), (tmp_path / "s").glob("shard-*.json")
    return tmp_path / "s", array, index


def test_hostile_shards_do_not_run(store, tmp_path):
    folder, array, _ = store
    array.write_bytes(hostile.pickled_array(tmp_path / "was_run"))
    _is_told(folder, "cannot be mapped")
    array.write_bytes(hostile.plain_pickle(tmp_path / "was_run"))
    _is_told(folder, "cannot be mapped")
    assert not (tmp_path / "was_run").exists()


def _is_told(folder, says):
    """Either when the store is opened or with the first video."""
    with pytest.raises(DataError) as caught:
        raise entries(folder, "a")[0].error
    assert says in str(caught.value) and str(folder) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda entry: entry.pop("rows"), "not the index of a shard (KeyError('rows'))"),
        (lambda entry: entry.update(order=None), "not the index of a shard"),
        (lambda entry: entry.update(rows={"a": [0]}), "not the index of a shard"),
        (lambda entry: entry.update(rows=[]), "not the index of a shard"),
        (lambda entry: entry.update(rows={"a": [5, 99]}), "8 rows, but 'a' lies at 5 to 104"),
        (lambda entry: entry.update(rows={"a": [-3, 2]}), "8 rows, but 'a' lies at -3 to -1"),
    ],
)
def test_a_shard_with_a_wrong_index(change, says, store):
    folder, _, index = store
    entry = json.loads(index.read_text())
    change(entry)
    index.write_text(json.dumps(entry))
    _is_told(folder, says)


def test_other_damage_of_a_store(store):
    folder, array, index = store
    np.save(array, np.zeros((8, 5), np.float16))
    _is_told(folder, "shape (8, 5), the store says width 4")
    array.write_bytes(array.read_bytes()[:100])
    _is_told(folder, "cannot be mapped")
    array.unlink()
    _is_told(folder, "cannot be mapped")
    for text in ("{", "[1]", "\x00"):
        index.write_text(text)
        _is_told(folder, "delete the store and make it again")
    (folder / "store.json").write_text('{"format": 1}')
    with pytest.raises(DataError, match="says no width"):
        FeatureStore.open(folder)


def test_a_video_that_was_left_out_says_why(tmp_path):
    with FeatureWriter(tmp_path / "s", dim=4, info={"fps": 1.0}) as writer:
        writer.add("a", GOOD.float())
        writer.fail("b", "b.mp4 is empty (0 bytes)")
        with pytest.raises(DataError, match="hold NaN"):
            writer.add("c", torch.full((2, 4), float("nan")))
    with pytest.raises(MediaError, match=r"b\.mp4 is empty"):
        FeatureStore.open(tmp_path / "s").rows("b")
