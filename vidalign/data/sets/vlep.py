"""VLEP: which of two events happens next (specification benchmarks, section 5)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import ClassVar

from vidalign.common.sample import DatasetInfo, Sample, Subtitle
from vidalign.data.sets.base import AnnotationBuilder
from vidalign.data.sets.rows import Row, read_json_rows, read_jsonl, sevila_row
from vidalign.data.sets.subtitles import read_subtitles


class Vlep(AnnotationBuilder):
    """`vlep_<split>_release.jsonl` (val is the dev file), `vlep_subtitles.jsonl` where subtitles are asked for.

    The rows have no question; processors put their own fixed one.
    """

    info = DatasetInfo(
        name="vlep",
        task="mc_qa",
        dialogue="vlep",
        submission="vlep",
        expected_counts={"train": 20142, "val": 4392, "dev": 4392, "test": 4192},
    )

    expected_parts: ClassVar = {name: {"answer 0": 2145, "answer 1": 2247} for name in ("val", "dev")}
    patterns = ("vlep_{split}_release.jsonl", "{split}.json")
    companions = ("vlep_subtitles.jsonl",)
    split_names: ClassVar = {"val": "dev"}

    def rows_of(self, split: str) -> Iterable[Row]:
        """Lines of the release file, or SeViLA's processed list."""
        release = self.patterns[0].format(split=self.split_names.get(split, split))
        path = self.given or self.file(release, f"{split}.json")
        return map(_from_sevila, read_json_rows(path)) if path.suffix == ".json" else read_jsonl(path)

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


def _from_sevila(row: Row) -> Row:
    """{video, qid, a0, a1, answer, question (made), start, end}."""
    names = {"events": [row.text("a0"), row.text("a1")], "ts": [row.values.get("start"), row.values.get("end")]}
    names |= {"example_id": row.text("qid").removeprefix("VLEP_"), "vid_name": row.text("video").rpartition("/")[2]}
    return sevila_row(row, names)
