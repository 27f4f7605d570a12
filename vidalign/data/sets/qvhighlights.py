"""QVHighlights: moments and highlights for a query (specification benchmarks, section 6)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from vidalign.common.sample import DatasetInfo, Sample
from vidalign.data.sets.base import AnnotationBuilder
from vidalign.data.sets.rows import Row, read_json_rows, read_jsonl

CLIP_SECONDS = 2.0
_USED = ("qid", "query", "duration", "vid", "relevant_windows", "saliency_scores")


class QVHighlights(AnnotationBuilder):
    """`highlight_<split>_release.jsonl`; for test `highlight_test_with_gt.jsonl` where it is there. Videos `<vid>.mp4`.

    The processed `<split>.json` of SeViLA / ViLA is read too; it has windows but no ratings.
    """

    info = DatasetInfo(
        name="qvhighlights",
        task="moment",
        headline="R1@0.5",
        expected_counts={"train": 7218, "val": 1550, "test": 1542},
        submission="qvhighlights",
    )
    expected_parts: ClassVar = {"train": {"videos": 7100}, "val": {"videos": 1519}, "test": {"videos": 1529}}
    patterns: ClassVar = (
        "highlight_{split}_with_gt.jsonl",
        "highlight_{split}_release.jsonl",
        "subs_{split}.jsonl",
        "{split}.json",
    )

    def rows_of(self, split: str) -> Iterable[Row]:
        """Lines of the release file."""
        path = self.split_file(split)
        return read_json_rows(path) if path.suffix == ".json" else read_jsonl(path)

    def sample(self, row: Row, split: str) -> Sample:
        """Windows on a grid of two seconds, none in the hidden test split."""
        video = row.text("vid" if "vid" in row.values else "video").rpartition("/")[2]
        duration = row.number("duration")
        windows = tuple(self._window(row, window) for window in self._list(row, "relevant_windows"))
        ratings, clips = (self._list(row, name) for name in ("saliency_scores", "relevant_clip_ids"))
        if ratings and len(ratings) != len(clips):  # the subtitles of subs_train.jsonl have no ratings
            raise row.error("saliency_scores", f"{len(ratings)} ratings for the {len(clips)} relevant_clip_ids")
        return Sample(
            uid=self.uid(split, row.text("qid").removeprefix("QVHighlight_")),
            dataset=self.info.name,
            split=split,
            task="moment",
            media=self.media(video, f"{video}.mp4", duration_seconds=duration),
            question=row.text("query"),
            windows=windows,
            saliency=tuple(self._ratings(row, one) for one in ratings),
            clip_len=CLIP_SECONDS,
            meta=row.rest(_USED) | {"qid": row.get("qid")},
        )

    @staticmethod
    def _list(row: Row, name: str) -> list[Any]:
        value = row.values.get(name) or []
        if not isinstance(value, list):
            raise row.error(name, "a list expected")
        return value

    @staticmethod
    def _window(row: Row, window: Any) -> tuple[float, float]:
        if not isinstance(window, list) or len(window) != 2:
            raise row.error("relevant_windows", "a list of [start, end] in seconds expected")
        span = row.check_span("relevant_windows", *window)
        if span is None:
            raise row.error("relevant_windows", "a window needs its times")
        return span

    @staticmethod
    def _ratings(row: Row, one: Any) -> tuple[int, ...]:
        if not isinstance(one, list) or not all(isinstance(value, int) for value in one):
            raise row.error("saliency_scores", "a list of whole numbers per clip expected, one for each annotator")
        return tuple(one)
