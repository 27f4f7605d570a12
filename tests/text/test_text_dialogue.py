"""Dialogue rules (spec bovila, 4.6) on hand-made lines, and the .srt reader on awkward files."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidalign.common.errors import DataError
from vidalign.common.sample import Subtitle
from vidalign.text.dialogue import dialogue_text, parse_srt, read_srt


def lines(*triples: tuple[float, float, str]) -> tuple[Subtitle, ...]:
    return tuple(Subtitle(start=a, end=b, text=t) for a, b, t in triples)


# (start, end) of one line and whether it stays in the window 4..8
WINDOW = [
    ((4.0, 8.0), True),
    ((3.9, 4.0), True),  # starts before, reaches the window's start
    ((3.9, 3.9), False),  # over before
    ((7.9, 8.9), True),  # 8.9 is cut to 8
    ((7.0, 9.0), False),  # outlasts the window: dropped
    ((2.0, 9.0), False),
    ((9.0, 10.0), False),
]


@pytest.mark.parametrize("rule", ["vlep", "tvqa"])
@pytest.mark.parametrize(("times", "kept"), WINDOW)
def test_window(rule: str, times: tuple[float, float], kept: bool) -> None:
    text = dialogue_text(rule, lines((*times, "hello")), (4.4, 7.6))
    assert bool(text) is kept


def test_window_is_rounded_half_to_even() -> None:
    line = lines((3.0, 3.5, "x"))
    assert dialogue_text("vlep", line, (4.5, 9)) == "", "4.5 rounds to 4, the line ends in 3"
    assert dialogue_text("vlep", line, (2.5, 9)) == "x"
    assert dialogue_text("vlep", line, (0, 2.5)) == "", "2.5 rounds to 2"
    assert dialogue_text("vlep", line, (0, 3.5)) == "x", "3.5 rounds to 4"


def test_vlep_glues_and_removes_dashes() -> None:
    text = dialogue_text("vlep", lines((0, 1, "-Hi -you"), (1, 2, "two\nlines")), None)
    assert text == "Hi youtwo\nlines"
    assert dialogue_text("vlep", (), None) == "", "the line stays when empty"


def test_tvqa_blanks_and_hours() -> None:
    text = dialogue_text("tvqa", lines((0, 1, "a\nb"), (3601, 3602, "c")), (0, 5))
    assert text == " a b c", "hours are dropped"
    assert dialogue_text("tvqa", (), None) is None, "no line when empty"


def test_unknown_rule() -> None:
    with pytest.raises(DataError, match="known: vlep, tvqa"):
        dialogue_text("how2", (), None)


SRT = (
    "\ufeff1\r\n00:00:01,500 --> 01:00:03,040 X1:40\r\n<i>Hi</i>\r\nthere  \r\n\r\n\r\n"
    "2\r\n00:01:00.5 --> 00:01:02\r\n\r\n"
)


def test_srt() -> None:
    first, second = parse_srt(SRT)
    assert (first.start, first.end, first.text) == (1.5, 3603.04, "<i>Hi</i>\nthere")
    assert (second.start, second.end, second.text) == (60.5, 62.0, "")


def test_srt_with_blank_line_in_text_keeps_what_pysrt_keeps() -> None:
    parsed = parse_srt("1\n00:00:01,000 --> 00:00:02,000\nfirst\n\nlost\n\n2\n00:00:03,000 --> 00:00:04,000\nlast\n")
    assert [line.text for line in parsed] == ["first", "last"]


def test_srt_errors_and_encodings(tmp_path: Path) -> None:
    assert parse_srt("") == ()
    with pytest.raises(DataError, match=r"clip\.srt: no subtitle"):
        parse_srt("{\\rtf1 not an srt file}", name="clip.srt")
    path = tmp_path / "old.srt"
    path.write_bytes("1\n00:00:01,000 --> 00:00:02,000\nCafé\n".encode("latin-1"))
    assert read_srt(path)[0].text == "Café"
