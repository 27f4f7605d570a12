"""Rows: shortening, stacking, labels."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from vidalign.text.pack import PLACEHOLDER, Row, frame_labels, pad_stack, shared_prefix, shorten, stack, text_labels

P = PLACEHOLDER
# head, two placeholders, dialogue at 3..6, text, supervised from 8
ROW = Row(
    ids=(1, P, P, 10, 11, 12, 20, 21, 30, 2), video_start=1, supervised=8, question_start=7, cut_start=3, cut_end=6
)


def test_shorten_cuts_the_end_of_the_span_and_moves_what_follows() -> None:
    row = shorten(ROW, 1)
    assert row.ids == (1, P, P, 10, 20, 21, 30, 2)
    assert (row.video_start, row.supervised, row.question_start) == (1, 6, 5)
    assert row.ids[row.cut_start : row.cut_end] == (10,)


@given(keep=st.integers(-3, 3))
def test_shorten_keeps_the_supervised_tokens(keep: int) -> None:
    row = shorten(ROW, keep)
    assert row.ids[row.supervised :] == ROW.ids[ROW.supervised :]
    assert len(row) == len(ROW) - (3 - keep)


def test_stack_pads_and_cuts() -> None:
    assert stack([ROW], 12).tolist() == [[1, 0, 0, 10, 11, 12, 20, 21, 30, 2, 0, 0]]
    assert stack([ROW], 4).tolist() == [[1, 0, 0, 10]]


def test_labels_begin_at_the_span_and_count_id_zero() -> None:
    row = Row(ids=(1, P, 5, 0, 7, 2), video_start=1, supervised=3)
    labels, mask = text_labels([row], 8)
    assert labels.tolist() == [[0, 0, 0, 0, 7, 2, 0, 0]]
    assert mask.tolist() == [[0, 0, 0, 1, 1, 1, 0, 0]]
    labels, mask = text_labels([row], 3)
    assert not labels.any() and not mask.any(), "the answer was cut away"


def test_frame_labels() -> None:
    row = Row(ids=(1, 5, P, P, P, 2), video_start=2, supervised=2)
    assert frame_labels([row], 7, 3).tolist() == [[-1, -1, 0, 1, 2, -1, -1]]


def test_pad_stack_fills_missing_rows() -> None:
    out = pad_stack([torch.ones(1, 2), torch.ones(2, 1)], rows=2, length=3, fill=-1)
    assert out.tolist() == [[[1, 1, -1], [-1, -1, -1]], [[1, -1, -1], [1, -1, -1]]]


@given(st.lists(st.integers(0, 2)), st.lists(st.integers(0, 2)))
def test_shared_prefix(left: list[int], right: list[int]) -> None:
    n = shared_prefix(left, right)
    assert left[:n] == right[:n]
    assert n in (len(left), len(right)) or left[n] != right[n]
