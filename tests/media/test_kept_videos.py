"""Decoded videos in memory: the same pictures, decoded once, within the budget, broken ones opened each time."""

import numpy as np
import pytest
import torch

from vidalign.common.errors import MediaError
from vidalign.media.kept_videos import KeptVideos
from vidalign.media.video import open_video
from vidalign.media.video_writer import write_mp4


@pytest.fixture
def video(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (12, 64, 64, 3), dtype=np.uint8)
    write_mp4(tmp_path / "a.mp4", frames, fps=4)
    return tmp_path / "a.mp4"


def counting(opened):
    def opener(path):
        opened.append(path)
        return open_video(path, decoder="pyav")

    return opener


def test_same_pictures_decoded_once(video):
    opened, kept = [], KeptVideos(1)
    with open_video(video, decoder="pyav") as plain:
        wanted = plain.frames([3, 0, 3])
    for _ in range(3):
        with kept.open(video, counting(opened)) as reader:
            assert (reader.num_frames, reader.fps) == (12, 4.0)
            found = reader.frames([3, 0, 3])
            assert torch.equal(found, wanted)
            found.zero_()  # a caller's own
    assert len(opened) == 1


@pytest.mark.parametrize("megabytes", [0, 1])
def test_what_does_not_fit_is_opened_each_time(video, tmp_path, megabytes):
    large = tmp_path / "large.mp4"
    write_mp4(large, np.zeros((12, 192, 192, 3), np.uint8), fps=4)  # 1.3 MB
    opened, kept = [], KeptVideos(megabytes)
    for _ in range(2):
        with kept.open(large, counting(opened)) as reader:
            assert reader.frames([11]).shape == (1, 192, 192, 3)
    assert len(opened) == 2


def test_what_cannot_be_read_is_told_each_time(tmp_path):
    (tmp_path / "b.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    kept = KeptVideos(1)
    for _ in range(2):
        with pytest.raises(MediaError):
            kept.open(tmp_path / "b.mp4", counting([]))
