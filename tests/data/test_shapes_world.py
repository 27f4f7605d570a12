"""The drawn world: equal seeds draw equal clips, questions are balanced and true, no frame betrays the answer."""

from collections import Counter

import numpy as np
import pytest

from vidalign.data.shapes.draw import RGB, draw
from vidalign.data.shapes.paragraphs import paragraph_pair
from vidalign.data.shapes.questions import GROUPS, questions_of
from vidalign.data.shapes.world import CORE, HARD, KINDS, NUM_FRAMES, SIZE_PX, SLOT_FRAMES, WHITE, make_clip

CLIPS = [make_clip(0, "train", index) for index in range(1400)]
ASKED = [(clip, asked) for clip in CLIPS for asked in questions_of(clip)]


def test_same_arguments_same_clip_other_seed_or_split_another():
    assert make_clip(0, "test", 3) == make_clip(0, "test", 3)
    assert len({make_clip(seed, split, 3).frames for seed in (0, 1) for split in ("train", "val", "test")}) == 6


def test_kinds_and_types_all_occur():
    assert {clip.kind for clip in CLIPS} == {*CORE, *HARD} == set(KINDS) - {"still"}
    assert {asked.qtype for _, asked in ASKED} == {*GROUPS["core"], *GROUPS["hard"]}


def test_shortened_demo_asks_what_every_frame_shows():
    for index in range(40):
        clip = make_clip(0, "train", index, kind="still")
        [asked] = questions_of(clip)
        assert asked.qtype in GROUPS["look"] and len(set(asked.options)) == 4
        assert {thing.colour for frame in clip.frames for thing in frame} == {asked.answer}


def test_right_letter_is_uniform_and_options_differ():
    letters = Counter(asked.answer_idx for _, asked in ASKED)
    share = [letters[i] / len(ASKED) for i in range(4)]
    assert max(share) < 0.25 + 4 * (0.1875 / len(ASKED)) ** 0.5, share
    assert all(len(set(asked.options)) == 4 for _, asked in ASKED)


@pytest.mark.parametrize("qtype", GROUPS["core"])
def test_no_core_answer_is_more_frequent(qtype):
    answers = Counter(asked.answer for _, asked in ASKED if asked.qtype == qtype)
    total, kinds = sum(answers.values()), len(answers)
    assert max(answers.values()) / total < 1 / kinds + 4 * (1 / kinds / total) ** 0.5, answers


def test_white_time_tells_nothing_about_how_often():
    for clip in CLIPS:
        if clip.kind == "count":
            white = [frame[0].colour == WHITE for frame in clip.frames]
            assert sum(white) == 4 * SLOT_FRAMES
            assert (
                sum(now and not before for now, before in zip(white, [False, *white], strict=False))
                == (clip.facts["times"])
            )


def test_single_frames_show_every_rank_equally_often():
    shown = Counter()
    for clip in CLIPS:
        if clip.kind == "order":
            shown.update(clip.facts["colours"].index(frame[0].colour) for frame in clip.frames if frame)
    share = [shown[rank] / sum(shown.values()) for rank in range(4)]
    assert max(share) < 0.28, share


def test_ten_samples_see_every_colour_in_order():
    for clip in CLIPS:
        if clip.kind in ("order", "neighbours"):
            seen = [frame[0].colour for frame in clip.frames[1::SLOT_FRAMES] if frame]
            assert list(dict.fromkeys(seen)) == clip.facts["colours"]


def test_flash_and_while_last_one_slot():
    for clip in CLIPS:
        if clip.kind == "flash":
            assert sum(any(thing.shape == "cross" for thing in frame) for frame in clip.frames) == SLOT_FRAMES
        if clip.kind in ("flash", "while"):
            [(start, end)] = clip.facts["windows"]
            assert end - start == pytest.approx(0.3)


def test_drawing_shows_the_things_where_they_are():
    clip = next(clip for clip in CLIPS if clip.kind == "direction")
    video = draw(clip)
    assert video.shape == (NUM_FRAMES, SIZE_PX, SIZE_PX, 3) and video.dtype == np.uint8
    for picture, [thing] in zip(video, clip.frames, strict=True):
        x, y = int(thing.x % SIZE_PX), int(thing.y % SIZE_PX)
        assert tuple(picture[y, x]) == RGB[thing.colour]
        assert np.array_equal(draw(clip), video)
        break


def test_twins_have_the_same_moments_in_another_order():
    for index in range(20):
        one, two = paragraph_pair(0, "test", index)
        assert one.facts["sentences"] != two.facts["sentences"]
        assert sorted(one.facts["sentences"]) == sorted(two.facts["sentences"])
        assert len(one.frames) == len(two.frames) == NUM_FRAMES
