"""Index rules and spans: for every length, rate and span the indices exist, are in order and reach the ends."""

from hypothesis import given, settings
from hypothesis import strategies as st

from vidalign.media.sampling import RULES, at_fps, span_frames, span_rows, uniform_floor, zero_rows

quick = settings(max_examples=60, deadline=None)  # the machine may be busy
SIZES = st.integers(1, 5000)
FPS = st.floats(0.5, 240, allow_nan=False)
SECONDS = st.floats(-1e6, 1e6, allow_nan=False)
SPANS = st.none() | st.tuples(SECONDS, SECONDS).map(sorted).map(tuple)


@quick
@given(name=st.sampled_from(sorted(RULES)), n=SIZES, m=st.integers(1, 300))
def test_every_rule(name, n, m):
    indices = RULES[name](n, m)
    assert all(0 <= index < n for index in indices) and indices == sorted(indices)
    assert len(indices) + (zero_rows(n, m) if name == "uniform_floor" else 0) == m
    if name != "uniform_floor" or n > m:
        gaps = [later - earlier for earlier, later in zip(indices, indices[1:], strict=False)]
        assert max(gaps, default=0) - min(gaps, default=0) <= 1, "evenly spread"
    assert n < m or len(set(indices)) == len(indices), "nothing twice while there is enough"


@quick
@given(n=SIZES, m=st.integers(1, 300))
def test_uniform_floor_is_the_official_formula(n, m):
    assert uniform_floor(n, m) == (list(range(n)) if n <= m else [(j * n) // m for j in range(m)])


@quick
@given(n=SIZES, span=SPANS, fps=st.sampled_from([1.0, 3.0, 0.5, 2.0]))
def test_rows_of_any_span_exist(n, span, fps):
    rows = span_rows(n, span, fps)
    assert all(0 <= row < n for row in rows[:3]) and (not rows or rows[-1] < n) and rows.step == 1
    if span is not None and 0 <= span[0] <= n / fps - 2:
        assert rows, "a span that begins inside the file has rows"


@quick
@given(n=SIZES, span=SPANS, fps=FPS)
def test_frames_of_any_span_exist(n, span, fps):
    frames = span_frames(n, span, fps)
    assert len(frames) >= 1 and 0 <= frames[0] <= frames[-1] < n


@quick
@given(n=st.integers(1, 1000), source=FPS, fps=st.floats(0.1, 60, allow_nan=False))
def test_kept_frames_exist_and_follow_the_clock(n, source, fps):
    kept = at_fps(n, source, fps)
    assert kept == sorted(kept) and kept[0] >= 0 and kept[-1] < n
    assert abs(len(kept) - n / source * fps) <= 1.01 + 1e-4 * len(kept)


@quick
@given(first=st.floats(0, 500), length=st.floats(0, 500), rule=st.sampled_from(sorted(RULES)), m=st.integers(1, 32))
def test_span_then_rule_stays_inside_the_span(first, length, rule, m):
    span = span_rows(600, (first, first + length), 1.0)
    indices = [span[i] for i in RULES[rule](len(span), m)] if span else []
    assert all(round(first) <= index <= round(first + length) for index in indices)
