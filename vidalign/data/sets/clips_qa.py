"""Hand-written open-ended questions over real videos: `clips/open_qa.json`, the files under `videos/`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from vidalign.common.sample import DatasetInfo, Sample
from vidalign.data.sets.base import AnnotationBuilder
from vidalign.data.sets.rows import Row, read_json_rows


class ClipsQA(AnnotationBuilder):
    """Rows {question_id, video_name, file, question, answer}; one split whatever it is called."""

    info = DatasetInfo(name="clips_qa", task="open_qa")
    patterns: ClassVar = ("clips/open_qa.json", "open_qa.json")

    def rows_of(self, split: str) -> Iterable[Row]:
        """Items of the json list."""
        return read_json_rows(self.split_file(split))

    def sample(self, row: Row, split: str) -> Sample:
        """uid by question_id."""
        answer = row.text("answer")
        return Sample(
            uid=self.uid(split, row.text("question_id")),
            dataset=self.info.name,
            split=split,
            task="open_qa",
            media=self.media(row.text("video_name"), row.text("file")),
            question=row.text("question"),
            answer=answer,
            answers=(answer,),
            meta=row.rest(("question_id", "video_name", "file", "question", "answer")),
        )
