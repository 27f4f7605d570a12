"""TVQA (specification benchmarks, section 4)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from vidalign.common.errors import DataError
from vidalign.common.sample import DatasetInfo, Sample, Subtitle
from vidalign.data.sets.base import AnnotationBuilder
from vidalign.data.sets.rows import Row, read_json_rows, read_jsonl, sevila_row
from vidalign.data.sets.subtitles import read_subtitles
from vidalign.text.dialogue import read_srt

_OPTIONS = ("a0", "a1", "a2", "a3", "a4")


class Tvqa(AnnotationBuilder):
    """`tvqa_<split>.jsonl`; subtitles from `tvqa_subtitles/<vid_name>.srt` or `tvqa_preprocessed_subtitles.jsonl`.

    `ts` may be NaN-NaN: then the question is about the whole clip.
    """

    info = DatasetInfo(
        name="tvqa",
        task="mc_qa",
        dialogue="tvqa",
        submission="answer_index",
        feature_fps=3.0,
        expected_counts={"train": 122039, "val": 15253, "test_public": 7623},
    )

    patterns = ("tvqa_{split}.jsonl", "{split}.json")
    companions = ("tvqa_preprocessed_subtitles.jsonl",)

    def rows_of(self, split: str) -> Iterable[Row]:
        """Lines of the release file, or SeViLA's processed list."""
        path = self.split_file(split)
        return map(_from_sevila, read_json_rows(path)) if path.suffix == ".json" else read_jsonl(path)

    def sample(self, row: Row, split: str) -> Sample:
        """uid by qid, by the row number where there is none; the label is hidden in the test files."""
        options = row.texts(_OPTIONS)
        answer = row.index_in("answer_idx", len(options))
        video = row.text("vid_name")
        start, dash, end = row.text("ts").partition("-")
        if not dash:
            raise row.error("ts", "seconds like 12.5-20 expected")
        return Sample(
            uid=self.uid(split, row.text("qid") if row.has("qid") else row.index),
            dataset=self.info.name,
            split=split,
            task="mc_qa",
            media=self.media(video, f"{video}.mp4"),
            span=row.check_span("ts", start, end),
            question=row.text("q"),
            options=options,
            answer_idx=answer,
            answer=None if answer is None else options[answer],
            subtitles=self._subtitles_of(video) if self.config.subtitles else None,
            meta=row.rest((*_OPTIONS, "q", "answer_idx", "ts", "vid_name")),
        )

    def _subtitles_of(self, video: str) -> tuple[Subtitle, ...]:
        if self._preprocessed is not None:
            return self._preprocessed.get(video, ())
        if video not in self._srt:
            path = self.root / "tvqa_subtitles" / f"{video}.srt"
            self._srt[video] = read_srt(path) if path.is_file() else ()
        return self._srt[video]

    @cached_property
    def _preprocessed(self) -> dict[str, tuple[Subtitle, ...]] | None:
        path = self.root / "tvqa_preprocessed_subtitles.jsonl"
        if (self.root / "tvqa_subtitles").is_dir():
            return None
        if not path.is_file():
            raise DataError(
                f"tvqa: no subtitles in {self.root}: neither the folder tvqa_subtitles nor {path.name}; put one of "
                "them there or set datasets.tvqa.subtitles to false"
            )
        return read_subtitles(path)

    @cached_property
    def _srt(self) -> dict[str, tuple[Subtitle, ...]]:
        return {}


def _from_sevila(row: Row) -> Row:
    names = {"q": row.text("question"), "answer_idx": row.values.get("answer"), "vid_name": row.text("video")}
    times = "-".join(str(row.values.get(name, "NaN")) for name in ("start", "end"))
    return sevila_row(row, names | {"vid_name": names["vid_name"].rpartition("/")[2], "ts": times})
