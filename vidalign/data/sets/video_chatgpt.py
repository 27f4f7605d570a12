"""The generative benchmark of Video-ChatGPT (arXiv 2306.05424): three files of questions on 500 ActivityNet videos.

Specification benchmarks, section 11. The split names the file: generic (scored for correctness, detail and context),
temporal, consistency (two questions with one answer).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, ClassVar

from vidalign.common.sample import DatasetInfo, Sample
from vidalign.data.sets.base import AnnotationBuilder
from vidalign.data.sets.rows import Row, read_json_rows


class VideoChatGPT(AnnotationBuilder):
    """`<split>_qa.json` with rows {video_name, Q, A}, or {video_name, Q1, Q2, A} for consistency.

    uid `video_chatgpt/<split>/<video_name>_<k>`, k counting the rows of a video from 0. A consistency row gives two
    Samples, `..._<k>_1` and `..._<k>_2`, each with meta["pair"] = `<video_name>_<k>`.
    """

    info = DatasetInfo(name="video_chatgpt", task="open_qa", expected_counts={})
    patterns: ClassVar = ("{split}_qa.json",)
    companions: ClassVar = ("train_video_ids.txt",)
    split_words: ClassVar = ("generic", "temporal", "consistency")

    def rows_of(self, split: str) -> Iterable[Row]:
        """Items of the json list."""
        return read_json_rows(self.split_file(split))

    def read(self, split: str) -> Iterable[Sample]:
        """One Sample per question."""
        seen: Counter[str] = Counter()
        for row in self.rows_of(split):
            video = row.text("video_name")
            native = f"{video}_{seen[video]}"
            seen[video] += 1
            if "Q1" not in row.values:
                yield self._sample(row, split, native, field="Q", meta={})
                continue
            for number in (1, 2):
                yield self._sample(row, split, f"{native}_{number}", field=f"Q{number}", meta={"pair": native})

    def sample(self, row: Row, split: str) -> Sample:
        """The Sample of a row of one question, named by its row number."""
        return self._sample(row, split, f"{row.text('video_name')}_{row.index}", field="Q", meta={})

    def _sample(self, row: Row, split: str, native: str, *, field: str, meta: dict[str, Any]) -> Sample:
        video, answer = row.text("video_name"), row.text("A")
        return Sample(
            uid=self.uid(split, native),
            dataset=self.info.name,
            split=split,
            task="open_qa",
            media=self.media(video, f"{video}.mp4"),
            question=row.text(field),
            answer=answer,
            answers=(answer,),
            qtype=split,
            meta={**row.rest(("video_name", "Q", "Q1", "Q2", "A")), **meta},
        )
