"""Condensed Movies (specification benchmarks, section 12)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from vidalign.common.sample import DatasetInfo, Sample
from vidalign.data.sets.files import FoundFile
from vidalign.data.sets.paragraphs import ParagraphBuilder
from vidalign.data.sets.rows import Row, read_csv, read_jsonl


class CondensedMovies(ParagraphBuilder):
    """`descriptions.csv`, `split.csv` (by film), `clips.csv`, `durations.csv`: one sentence per clip.

    A description whose film is in no split is left out and named.
    """

    info = DatasetInfo(
        name="condensed_movies",
        task="retrieval",
        headline="R@1",
        expected_counts={"train": 24132, "val": 3366, "test": 6593},
    )
    patterns: ClassVar = ("descriptions.csv", "{split}.jsonl")
    companions: ClassVar = ("split.csv", "clips.csv", "durations.csv", "movies.csv")

    @classmethod
    def parts(cls, found: FoundFile) -> list[str]:
        """The splits that split.csv names."""
        return list(dict.fromkeys(row.text("split") for row in read_csv(found.root / "split.csv", ("imdbid", "split"))))

    def split_file(self, split: str) -> Path:
        """LF-VILA's file where the folder has no raw ones."""
        if self.given is not None and self.given.suffix == ".jsonl":
            return self.given
        return self.file("descriptions.csv", f"{split}.jsonl")

    def rows_of(self, split: str) -> Iterable[Row]:
        """Descriptions of the split's films."""
        path = self.split_file(split)
        if path.suffix == ".jsonl":
            yield from read_jsonl(path)
            return
        films = {row.text("imdbid"): row.text("split") for row in read_csv(self.file("split.csv"), ("imdbid", "split"))}
        for row in read_csv(path, ("imdbid", "videoid", "description")):
            film = row.text("imdbid")
            if film not in films:
                self.left_out.append(f"{row.place}: film {film} of clip {row.text('videoid')} is in no split")
            elif films[film] == split:
                yield row

    def read(self, split: str) -> Iterable[Sample]:
        """All clips of the split with what the other files say about them."""
        clips, seconds = self._table("clips.csv"), self._table("durations.csv")
        for row in self.rows_of(split):
            if "clip_id" in row.values:
                yield self.processed(row, split)
                continue
            clip = row.text("videoid")
            duration = seconds[clip].number("duration") if clip in seconds and seconds[clip].has("duration") else None
            more = {key: value for key, value in clips[clip].values.items() if value} if clip in clips else {}
            text = row.text("description").strip()
            if not text:
                self.left_out.append(f"{row.place}: clip {clip} has no description")
                continue
            yield self.paragraph(
                row,
                split,
                video=clip,
                path=f"{clip}.mp4",
                texts=[text],
                duration=duration,
                meta={**more, "imdbid": row.text("imdbid")},
            )

    def _table(self, name: str) -> dict[str, Row]:
        path = self.root / name
        return {row.text("videoid"): row for row in read_csv(path, ("videoid",))} if path.is_file() else {}
