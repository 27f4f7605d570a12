"""`clips` paragraphs: hand-written four-sentence descriptions of real videos (`clips/paragraphs.jsonl`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from vidalign.common.sample import DatasetInfo, Sample
from vidalign.data.sets.paragraphs import ParagraphBuilder
from vidalign.data.sets.rows import Row, read_jsonl


class ClipsParagraphs(ParagraphBuilder):
    """`clips/paragraphs.jsonl`: clip_id, file, text; the files under `videos/`. The one split is `val`."""

    info = DatasetInfo(name="clips_paragraphs", task="retrieval", headline="R@1")
    patterns: ClassVar = ("clips/paragraphs.jsonl",)

    def rows_of(self, split: str) -> Iterable[Row]:
        """The lines."""
        return read_jsonl(self.file("clips/paragraphs.jsonl"))

    def sample(self, row: Row, split: str) -> Sample:
        """uid `clips_paragraphs/<split>/<clip_id>`."""
        texts = [row.as_text("text", one) for one in row.get("text")]
        return self.paragraph(row, split, video=row.text("clip_id"), path=row.text("file"), texts=texts)
