"""The kind whose answer shows in one of 16 intervals: one bright interval, its colour asked, nothing else tells."""

from collections import Counter

import numpy as np

from vidalign.data.shapes.builder import Shapes
from vidalign.data.shapes.config import ShapesConfig
from vidalign.data.shapes.files import folder_name
from vidalign.data.shapes.one_moment import INTERVALS, QTYPE, draw_moment, moment_clip, moment_question
from vidalign.data.shapes.samples import moments
from vidalign.data.shapes.world import FLASH
from vidalign.media.sampling import interval_frames
from vidalign.media.video import open_video

CLIPS = [moment_clip(0, "test", index) for index in range(400)]


def crosses(clip):
    return [next((t.colour for t in frame if t.shape == FLASH), None) for frame in clip.frames]


def test_sixteen_frames_see_every_interval_and_the_cross_once():
    for clip in CLIPS[:40]:
        shown = [crosses(clip)[frame] for frame in interval_frames(len(clip.frames), INTERVALS, fps=10.0)]
        assert [at for at, colour in enumerate(shown) if colour] == [clip.facts["interval"]]
        assert shown[clip.facts["interval"]] == clip.facts["answer"] == moment_question(clip).answer
        [(start, end)] = clip.facts["windows"]
        assert [start * 10 <= t < end * 10 for t in range(32)] == [bool(colour) for colour in crosses(clip)]


def test_uniform_four_frames_meet_it_in_a_quarter_of_the_clips():
    four = interval_frames(32, 4, fps=10.0)
    met = np.mean([any(crosses(clip)[frame] for frame in four) for clip in CLIPS])
    assert 0.18 < met < 0.32


def test_letters_colours_and_intervals_are_uniform_and_draws_repeat():
    letters = Counter(moment_question(clip).answer_idx for clip in CLIPS)
    assert len(letters) == 4 and min(letters.values()) > 70
    assert len({clip.facts["answer"] for clip in CLIPS}) == 6 and len({c.facts["interval"] for c in CLIPS}) == 16
    assert moment_clip(0, "test", 7) == CLIPS[7] != moment_clip(1, "test", 7)
    # Small things come and go with every interval, and no colour of theirs is the asked one more often than others.
    small = [t.colour == clip.facts["answer"] for clip in CLIPS for f in clip.frames for t in f if t.shape != FLASH]
    assert abs(np.mean(small) - 1 / 6) < 0.02


def test_it_is_drawn_decoded_and_asked_like_the_other_kinds(tmp_path):
    builder = Shapes(ShapesConfig(root=str(tmp_path), num_test=2, workers=1, kinds=["moment"]))
    samples = builder.samples("test")
    assert [sample.qtype for sample in samples] == [QTYPE] * 2 and builder.info.groups["moment"] == (QTYPE,)
    assert samples[0].media.duration_seconds == 3.2 and len(set(samples[0].options)) == 4
    with open_video(builder.media_root / samples[0].media.path, decoder="pyav") as video:
        frames = video.frames(list(range(32))).numpy().astype(int)
    assert np.abs(frames - draw_moment(CLIPS[0])).mean() < 6
    bright = np.median(frames, axis=(1, 2, 3)) > 60
    assert list(bright) == [bool(colour) for colour in crosses(CLIPS[0])]
    assert moments(CLIPS[0], "test")[0].windows == tuple(CLIPS[0].facts["windows"])


def test_folders_of_other_kinds_keep_their_names():
    assert folder_name(0, None, ["order"]) == folder_name(0).replace("seed0-", "seed0-order-")
    assert folder_name(0).split("-")[-1] not in folder_name(0, None, ["moment"])
