"""Index rules: reference data, limits, and the frames that ffmpeg's fps filter keeps."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidalign.common.errors import ConfigError
from vidalign.media import sampling

COUNT = st.integers(1, 5000)


def test_uniform_floor_equals_the_reference(shared):
    case = json.loads((shared / "reference/bovila/lr_schedule_and_frames.json").read_text())
    for row in case["frames"]:
        assert sampling.uniform_floor(row["n_frames"], row["max_feats"]) == row["index"]
        assert sampling.zero_rows(row["n_frames"], row["max_feats"]) == row["zero_rows"]


def test_rules_by_hand():
    assert sampling.uniform_floor(25, 4) == [0, 6, 12, 18]
    assert sampling.uniform_floor(3, 4) == [0, 1, 2]
    assert sampling.segment_middle(10, 5) == [1, 3, 5, 7, 9]
    assert sampling.segment_middle(2, 4) == [0, 0, 1, 1]
    assert sampling.linspace(10, 4) == [0, 3, 6, 9]
    assert sampling.linspace(10, 1) == [0]


@given(COUNT, st.integers(1, 64))
def test_every_rule_stays_inside_and_in_order(n, m):
    for rule in sampling.RULES.values():
        indices = rule(n, m)
        assert 1 <= len(indices) <= m
        assert indices == sorted(indices)
        assert indices[0] >= 0 and indices[-1] < n


@pytest.mark.parametrize("rule", sampling.RULES)
@pytest.mark.parametrize(("n", "m"), [(0, 4), (4, 0), (-1, 2)])
def test_rules_refuse_nothing(rule, n, m):
    with pytest.raises(ValueError, match="at least 1"):
        sampling.index_rule(rule)(n, m)


def test_unknown_rule_names_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'uniform_floor'"):
        sampling.index_rule("uniform_flor")


# What `ffmpeg -vf fps=F -vsync 0` (5.1.6) kept of constant-rate files, read off by comparing pictures.
@pytest.mark.parametrize(
    ("frames", "source_fps", "fps", "slots", "head"),
    [
        (310, 30.0, 1, 10, [14, 44, 74]),
        (243, 25.0, 1, 10, [12, 37, 62]),
        (270, 15.0, 1, 18, [7, 22, 37]),
        (270, 15.0, 3, 54, [2, 7, 12]),
        (420, 30.0, 0.5, 7, [29, 89, 149]),
        (919, 30000 / 1001, 1, 31, [14, 44, 74]),
        (3, 30.0, 7, 1, [2]),
        (3, 30.0, 1, 1, [1]),  # ffmpeg keeps none here
    ],
)
def test_at_fps_equals_ffmpeg(frames, source_fps, fps, slots, head):
    kept = sampling.at_fps(frames, source_fps, fps)
    assert len(kept) == slots
    assert kept[: len(head)] == head


@given(COUNT, st.sampled_from([10.0, 15.0, 24000 / 1001, 25.0, 30000 / 1001, 60.0]), st.sampled_from([0.2, 1, 3, 25]))
def test_at_fps_always_keeps_a_frame_inside(n, source_fps, fps):
    kept = sampling.at_fps(n, source_fps, fps)
    assert kept and kept == sorted(kept) and kept[0] >= 0 and kept[-1] < n


@pytest.mark.parametrize(
    ("n", "span", "fps", "rows"),
    [
        (12, (0.4, 3.6), 1, range(0, 5)),
        (9, (2.5, 11.5), 1, range(2, 9)),  # half to even: round(2.5) = 2
        (21, (1.6, 4.2), 3, range(6, 15)),
        (5, (7.0, 9.0), 1, range(5, 5)),
        (5, None, 1, range(0, 5)),
        (8, (-1000.0, 1000.0), 3, range(0, 8)),
    ],
)
def test_span_rows(n, span, fps, rows):
    assert sampling.span_rows(n, span, fps) == rows


def test_span_frames_never_empty():
    assert sampling.span_frames(100, (1.0, 2.0), 10.0) == range(10, 20)
    assert sampling.span_frames(100, (50.0, 60.0), 10.0) == range(99, 100)
    assert sampling.span_frames(100, None, 10.0) == range(0, 100)
