"""VLEP: which of two events happens next (specification benchmarks, section 5)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from vidalign.common.sample import DatasetInfo, Sample, Subtitle
from vidalign.data.sets.base import AnnotationBuilder, Row, read_jsonl


class Vlep(AnnotationBuilder):
    """`vlep_<split>_release.jsonl` (val is the dev file), `vlep_subtitles.jsonl` where subtitles are asked for.

    The rows have no question; processors put their own fixed one.
    """

    info = DatasetInfo(
        name="vlep",
        task="mc_qa",
        dialogue="vlep",
        expected_counts={"train": 20142, "val": 4392, "dev": 4392, "test": 4192},
    )

    def rows_of(self, split: str) -> Iterable[Row]:
        """Lines of the release file."""
        name = "dev" if split == "val" else split
        return read_jsonl(self.file(f"vlep_{name}_release.jsonl"))

    def sample(self, row: Row, split: str) -> Sample:
        """Two events as options; the label is hidden in test."""
        events = row.get("events")
        if not isinstance(events, list) or len(events) < 2:
            raise row.error("events", "a list of the two events expected")
        options = tuple(row.as_text("events", event) for event in events)
        answer = row.index_in("answer", len(options))
        times = row.get("ts")
        if not isinstance(times, list) or len(times) != 2:
            raise row.error("ts", "[start, end] in seconds expected")
        video = row.text("vid_name")
        return Sample(
            uid=self.uid(split, row.text("example_id") if row.has("example_id") else row.index),
            dataset=self.info.name,
            split=split,
            task="mc_qa",
            media=self.media(video, video_file(video)),
            span=row.check_span("ts", *times),
            options=options,
            answer_idx=answer,
            answer=None if answer is None else options[answer],
            subtitles=self._subtitles.get(video, ()) if self.config.subtitles else None,
            meta=row.rest(("events", "answer", "ts", "vid_name", "split")),
        )

    @cached_property
    def _subtitles(self) -> dict[str, tuple[Subtitle, ...]]:
        return read_subtitles(self.file("vlep_subtitles.jsonl"))


def video_file(name: str) -> str:
    """YouTube names (with ":") lie in their own folder, TV names are TVQA clips without the ending `_ep`."""
    return f"vlep_ytb_clips/{name}.mp4" if ":" in name else f"{name.removesuffix('_ep')}.mp4"


def read_subtitles(path: Path) -> dict[str, tuple[Subtitle, ...]]:
    """jsonl of {vid_name, sub: [{start, end, text}]} -> lines per video, in file order."""
    lines: dict[str, tuple[Subtitle, ...]] = {}
    for row in read_jsonl(path):
        sub = row.get("sub")
        if not isinstance(sub, list):
            raise row.error("sub", "a list of {start, end, text} expected")
        lines[row.text("vid_name")] = tuple(_line(row, entry) for entry in sub)
    return lines


def _line(row: Row, entry: object) -> Subtitle:
    try:
        start, end, text = float(entry["start"]), float(entry["end"]), str(entry["text"])
    except (TypeError, KeyError, ValueError) as error:
        raise row.error("sub", f"{entry!r} is not {{start, end, text}}: {error}") from error
    if not (math.isfinite(start) and math.isfinite(end)):
        raise row.error("sub", f"{entry!r}: its times must be seconds")
    return Subtitle(start=start, end=end, text=text)
