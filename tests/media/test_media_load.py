"""MediaLoader: notes, zeros, failures and frames; wrong pairings are told before the first sample."""

import pickle

import pytest
import torch
from video_files import make_video

from vidalign.common.errors import ConfigError, DataError, MediaError
from vidalign.common.sample import Media, Sample
from vidalign.media.feature_writer import FeatureWriter
from vidalign.media.features import FeatureStore
from vidalign.media.load import MediaLoader, resolve_video
from vidalign.media.spec import MediaSpec

DIM = 5
FEATURES = MediaSpec(kind="features", num_frames=4, feature_dim=DIM)


def counting(count):
    """Row i holds the number i + 1 (no row is zero)."""
    return torch.arange(1.0, count + 1).unsqueeze(1).expand(count, DIM).half()


@pytest.fixture
def store(tmp_path):
    broken = counting(6).clone()
    broken[1, 0] = float("nan")
    path = tmp_path / "clipvitl14.pth"
    torch.save({"long": counting(12), "short": counting(2).clone(), "nan": broken, "narrow": torch.ones(5, 3)}, path)
    return FeatureStore.open(path)


def sample(video_id="long", **fields):
    media = Media(kind="video", video_id=video_id, **{k: fields.pop(k) for k in ("parts", "path") if k in fields})
    return Sample(uid=f"x/val/{video_id}", dataset="x", split="val", task="mc_qa", media=media, **fields)


def firsts(loaded):
    return loaded.tensor[:, 0].tolist()


def test_whole_video_is_subsampled(store):
    got = MediaLoader(FEATURES, features=store, feature_fps=2.0).load(sample())
    assert firsts(got) == [1, 4, 7, 10] and got.tensor.dtype == torch.float32
    assert got.note is None and got.length == 4
    assert got.kept_frames[1] == {"index": 3, "seconds": 1.5}


def test_span_and_padding(store):
    got = MediaLoader(FEATURES, features=store).load(sample(span=(2.5, 3.6)))
    assert firsts(got) == [3, 4, 5, 0] and got.length == 3
    assert got.note == "3 of 4 feature rows; padded with zeros"
    assert [frame["index"] for frame in got.kept_frames] == [2, 3, 4]


def test_without_padding(store):
    spec = MediaSpec(kind="features", num_frames=4, feature_dim=DIM, pad=False)
    got = MediaLoader(spec, features=store).load(sample("short"))
    assert firsts(got) == [1, 2] and got.note is None


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"video_id": "absent"}, r"no features for 'absent' in clipvitl14\.pth"),
        ({"span": (20.0, 25.0)}, "no feature row between 20 and 25 seconds: the file has 12 rows"),
        ({"parts": ("long", "absent")}, "no features for 'absent'"),
        ({"video_id": "nan"}, "the features of 'nan' hold NaN or infinity"),
    ],
)
def test_unusable_media_have_a_reason(store, fields, reason):
    with pytest.raises(MediaError, match=reason):
        MediaLoader(FEATURES, features=store).load(sample(**fields))


@pytest.mark.parametrize(
    ("fields", "rows"),
    [
        ({"video_id": "absent", "span": (6.0, 9.0)}, [0, 0, 0, 0]),
        ({"span": (20.0, 25.0)}, [0, 0, 0, 0]),
        ({"parts": ("short", "absent", "short")}, [1, 2, 0, 1]),
    ],
)
def test_zeros_stand_for_missing_rows(store, fields, rows):
    got = MediaLoader(FEATURES, features=store, missing="zeros").load(sample(**fields))
    assert firsts(got) == rows and "zeros instead" in got.note


def test_reason_of_a_failed_extraction_reaches_the_sample(tmp_path):
    with FeatureWriter(tmp_path / "s", dim=DIM, info={"fps": 2.0}) as writer:
        writer.add("good", counting(6))
        writer.fail("bad", "bad.mp4 is empty (0 bytes)")
    loader = MediaLoader(FEATURES, features=FeatureStore.open(tmp_path / "s"), feature_fps=1.0)
    assert loader.feature_fps == 2.0  # the store knows better than the benchmark
    assert firsts(loader.load(sample("good", span=(1.0, 1.0)))) == [3, 4, 0, 0]
    with pytest.raises(MediaError, match=r"^bad\.mp4 is empty \(0 bytes\)$"):
        loader.load(sample("bad"))


def test_wrong_pairings_are_told_at_once(store):
    with pytest.raises(DataError, match="5 wide, the model's visual_dim is 768"):
        MediaLoader(MediaSpec(kind="features", num_frames=4, feature_dim=768), features=store)
    with pytest.raises(DataError, match="set `features:` to a feature file, or `extract:`"):
        MediaLoader(FEATURES)
    with pytest.raises(ConfigError, match="known are fail, zeros"):
        MediaLoader(FEATURES, features=store, missing="skip")
    with pytest.raises(ConfigError, match="Did you mean 'uniform_floor'"):
        MediaLoader(MediaSpec(kind="none", num_frames=1, index_rule="uniform_flor"))
    with pytest.raises(DataError, match="rows of 'narrow' are 3 wide, expected 5"):
        MediaLoader(FEATURES, features=store).load(sample("narrow"))


def test_kind_none_and_sample_without_media(store):
    assert MediaLoader(MediaSpec(kind="none", num_frames=1)).load(sample()).tensor is None
    bare = Sample(uid="x/val/0", dataset="x", split="val", task="mc_qa")
    with pytest.raises(MediaError, match="the sample names no video"):
        MediaLoader(FEATURES, features=store).load(bare)


FRAMES = MediaSpec(kind="frames", num_frames=3, index_rule="segment_middle", image_px=32, transform="clip_eval")


def test_frames_of_a_span(tmp_path):
    make_video(tmp_path / "clip.mp4", frames=40, fps=10, size=(70, 52))
    loader = MediaLoader(FRAMES, media_root=tmp_path)
    got = loader.load(sample("clip", path="clip.mp4", span=(1.0, 2.2)))
    assert got.tensor.shape == (3, 3, 32, 32) and got.note is None
    assert [frame["index"] for frame in got.kept_frames] == [12, 16, 20]
    assert got.kept_frames[0]["seconds"] == 1.2
    level = got.tensor[:, 0, 16, 16]  # brighter with every frame
    assert level[0] < level[1] < level[2]
    with pytest.raises(MediaError, match=r"other\.mp4: no such file"):
        loader.load(sample("other", path="other.mp4"))


def test_few_frames_are_padded_or_repeated(tmp_path):
    make_video(tmp_path / "two.mkv", frames=2)
    repeated = MediaLoader(FRAMES, media_root=tmp_path).load(sample("two"))
    assert [frame["index"] for frame in repeated.kept_frames] == [0, 1, 1]
    spec = MediaSpec(kind="frames", num_frames=3, image_px=32, transform="clip_eval")
    padded = MediaLoader(spec, media_root=tmp_path).load(sample("two"))
    assert padded.note == "2 of 3 frames; padded with zeros" and padded.tensor[2].eq(0).all()


def test_the_usual_suffixes_are_tried(tmp_path):
    (tmp_path / "a.b.mkv").touch()
    assert resolve_video(tmp_path, Media(kind="video", video_id="a.b")) == tmp_path / "a.b.mkv"
    assert resolve_video(tmp_path, Media(kind="video", video_id="x", path="a.b.mp4")) == tmp_path / "a.b.mkv"
    assert resolve_video(tmp_path, Media(kind="video", video_id="q")) == tmp_path / "q"


class _Items(torch.utils.data.Dataset):
    def __init__(self, loaders, samples):
        self.loaders, self.samples = loaders, samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return [loader.load(self.samples[index]).tensor for loader in self.loaders]


def test_loader_workers_read_features_and_frames(store, tmp_path):
    make_video(tmp_path / "long.mp4", frames=12)
    loaders = [MediaLoader(FEATURES, features=store), MediaLoader(FRAMES, media_root=tmp_path)]
    items = _Items(loaders, [sample(span=(second, second + 3.0)) for second in (0.0, 0.2, 0.4, 0.6)])
    here = [items[i] for i in range(len(items))]  # the parent decodes first: readers must not outlive the item
    batches = torch.utils.data.DataLoader(items, batch_size=None, num_workers=2)
    for mine, theirs in zip(here, batches, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
    again = pickle.loads(pickle.dumps(loaders))
    assert torch.equal(again[0].load(items.samples[0]).tensor, here[0][0])
