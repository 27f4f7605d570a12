"""DiDeMo (specification benchmarks, section 12)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import ClassVar

from vidalign.common.sample import DatasetInfo, Sample
from vidalign.data.sets.paragraphs import ParagraphBuilder
from vidalign.data.sets.rows import Row, read_json_rows, read_jsonl, read_words


class DiDeMo(ParagraphBuilder):
    """`<split>_data.json`, `<split>_list.txt` (the file names); all descriptions of a video are its paragraph.

    One video is named with several suffixes or with none: rows and list are joined by stem. `times` counts pieces of
    five seconds, the last included; of several annotators the commonest answer (the first of equals) is the span.
    """

    info = DatasetInfo(
        name="didemo", task="retrieval", headline="R@1", expected_counts={"train": 8395, "val": 1065, "test": 1004}
    )
    expected_rows: ClassVar = {"train": 33005, "val": 4180, "test": 4021}
    patterns: ClassVar = ("{split}_data.json", "{split}.jsonl")
    companions: ClassVar = ("{split}_list.txt",)
    _SUFFIXES: ClassVar = (".mp4", ".avi", ".mov", ".mpg", ".mpeg", ".m4v", ".3gp", ".wmv", ".mkv", ".flv", ".mts")

    def rows_of(self, split: str) -> Iterable[Row]:
        """One row per description."""
        path = self.split_file(split)
        return read_jsonl(path) if path.suffix == ".jsonl" else read_json_rows(path)

    def read(self, split: str) -> Iterable[Sample]:
        """One Sample per video, in the order in which the videos first occur."""
        rows = list(self.rows_of(split))
        if rows and "clip_id" in rows[0].values:
            return [self.processed(row, split) for row in rows]
        self.count_rows(split, len(rows), "descriptions")
        videos: dict[str, list[Row]] = {}
        for row in rows:
            videos.setdefault(self.stem(row.text("video")), []).append(row)
        files = self._files(split)
        samples = [self._video(stem, of, split, files=files) for stem, of in videos.items()]
        bare = [name for stem, name in files.items() if stem not in videos]
        self.left_out += [f"{split}_list.txt names {name}, which has no description" for name in bare]
        return samples

    def stem(self, name: str) -> str:
        """The name without a video's suffix; names hold dots of their own."""
        suffix = PurePosixPath(name).suffix
        return name.removesuffix(suffix) if suffix.lower() in self._SUFFIXES else name

    def _files(self, split: str) -> dict[str, str]:
        path = self.root / f"{split}_list.txt"
        return {self.stem(name): name for name in read_words(path)} if path.is_file() else {}

    def _video(self, stem: str, rows: list[Row], split: str, *, files: Mapping[str, str]) -> Sample:
        names = sorted({row.text("video") for row in rows})
        named = next((name for name in names if self.stem(name) != name), f"{stem}.mp4")
        return self.paragraph(
            rows[0],
            split,
            video=stem,
            path=files.get(stem, named),
            texts=[row.text("description").strip() for row in rows],
            spans=tuple(self._span(row) for row in rows),
            meta={
                "names": names,
                "in_list": stem in files if files else None,
                "times": [row.get("times") for row in rows],
                "annotation_ids": [row.values.get("annotation_id") for row in rows],
                "num_segments": rows[0].values.get("num_segments"),
            },
        )

    @staticmethod
    def _span(row: Row) -> tuple[float, float]:
        times = row.get("times")
        pieces = row.number("num_segments") if row.has("num_segments") else 6
        good = (
            isinstance(times, list)
            and times
            and all(isinstance(t, list) and len(t) == 2 and all(isinstance(n, int) for n in t) for t in times)
        )
        if not good:
            raise row.error("times", "a list of [first, last] pieces of five seconds expected")
        first, last = Counter(map(tuple, times)).most_common(1)[0][0]
        if not 0 <= first <= last < 6:
            raise row.error("times", "pieces lie in 0..5, the first not after the last")
        return 5.0 * first, 5.0 * min(last + 1, pieces)
