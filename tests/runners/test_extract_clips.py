"""Features of so many frames of each clip, chosen as TOPA's demos and MVBench choose them; folders of pictures."""

import pytest
import torch
from PIL import Image
from video_files import make_video

from vidalign.backbones.clip import tiny_clip_vision
from vidalign.common.errors import MediaError
from vidalign.common.sample import Media, Sample
from vidalign.data.sets.config import DatasetConfig, ExtractConfig
from vidalign.media.features import FeatureStore
from vidalign.media.load import MediaLoader, clip_id
from vidalign.media.pictures import PictureFolder
from vidalign.media.sampling import bounded_segments
from vidalign.media.spec import MediaSpec
from vidalign.media.transforms import clip_eval
from vidalign.media.video import open_video
from vidalign.runners.extract import chooser, features_for

DIM = 8
SPEC = MediaSpec(kind="features", num_frames=4, feature_dim=DIM)


def sample(uid, path, span=None):
    media = Media(kind="video", video_id=path, path=path)
    return Sample(uid=uid, dataset="d", split="test", task="caption", media=media, span=span)


def features(tmp_path, samples, rule):
    config = DatasetConfig(root=str(tmp_path), extract=ExtractConfig(frames=rule, frames_per_clip=4))
    folder = features_for(config, samples, tmp_path, tmp_path / "cache", dim=DIM, progress=False)
    return MediaLoader(SPEC, features=FeatureStore.open(folder))


def encoded(path, indices):
    encoder = tiny_clip_vision(DIM)
    with open_video(path) as video:
        return encoder(clip_eval(video.frames(indices), image_px=encoder.image_px))


def test_frames_of_the_caption_demos(tmp_path):
    make_video(tmp_path / "a.mp4", frames=35, fps=10)
    make_video(tmp_path / "b.mp4", frames=3, fps=10)
    loader = features(tmp_path, [sample("1", "a.mp4"), sample("2", "b.mp4")], "stride_floor")
    loaded = loader.load(sample("1", "a.mp4"))
    torch.testing.assert_close(loaded.tensor, encoded(tmp_path / "a.mp4", [0, 8, 16, 24]), atol=2e-3, rtol=2e-3)
    assert loaded.note is None and loaded.kept_frames == ()
    # A video with fewer frames than are wanted shows its first one every time, as in the demos.
    short = loader.load(sample("2", "b.mp4")).tensor
    torch.testing.assert_close(short, short[:1].expand_as(short))


def test_frames_of_mvbench_inside_a_span(tmp_path):
    make_video(tmp_path / "a.mp4", frames=35, fps=10)
    samples = [sample("1", "a.mp4", (1.0, 2.0)), sample("2", "a.mp4"), sample("3", "a.mp4", (30.0, 40.0))]
    loader = features(tmp_path, samples, "bounded_segments")
    for one in samples[:2]:
        places = bounded_segments(35, 4, fps=10.0, bound=one.span)
        torch.testing.assert_close(loader.load(one).tensor, encoded(tmp_path / "a.mp4", places), atol=2e-3, rtol=2e-3)
    # A span behind the end of the file: its last frame.
    torch.testing.assert_close(
        loader.load(samples[2]).tensor, encoded(tmp_path / "a.mp4", [34] * 4), atol=2e-3, rtol=2e-3
    )
    with pytest.raises(MediaError, match="no features"):
        loader.load(sample("4", "a.mp4", (0.0, 1.0)))
    assert clip_id("a", (1.0, 2.5)) == "a@1-2.5" and clip_id("a", None) == "a"


def test_a_folder_of_pictures_is_a_video(tmp_path):
    folder = tmp_path / "clip"
    folder.mkdir()
    for number in range(1, 13):
        Image.new("RGB", (64, 64), (20 * number, 0, 0)).save(folder / f"{number:05d}.jpg", quality=95)
    with PictureFolder(folder) as video:
        assert (video.num_frames, video.fps, video.duration_seconds) == (12, 3.0, 4.0)
        reds = video.frames([0, 11])[:, 0, 0, 0].tolist()
        assert abs(reds[0] - 20) < 6 and abs(reds[1] - 240) < 6
        settings = ExtractConfig(frames="bounded_segments", frames_per_clip=4)
        # MVBench counts pictures from 1: places 2, 5, 7, 10 of numbers, one less as indices.
        numbers = bounded_segments(12, 4, fps=3.0, bound=None, first=1)
        assert chooser(settings, None)(video) == [number - 1 for number in numbers]
    loaded = features(tmp_path, [sample("1", "clip")], "bounded_segments").load(sample("1", "clip"))
    assert loaded.length == 4 and len(loaded.tensor.unique(dim=0)) == 4
    (tmp_path / "empty").mkdir()
    with pytest.raises(MediaError, match="a folder, not a video file"):
        PictureFolder(tmp_path / "empty")
    Image.new("RGB", (32, 64)).save(folder / "00013.jpg")
    with pytest.raises(MediaError, match="one size"):
        PictureFolder(folder).frames([0, 12])
