"""How2QA in its four distributions (specification benchmarks, section 3), which must not be mixed.

The first that is found for a split is read: the processed `<split>.csv` (FrozenBiLM's form, used by BoViLA; times in a
60 s clip. With a column `uid` it is TOPA's: no times, features `<video_id>_<uid>`), `how2qa_<split>_release.jsonl`
(VALUE; times in the clip), `how2QA_<split>_release.csv` (the authors'; no header, times in the whole YouTube video, the
true option last).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

from vidalign.common.rng import draw_seed
from vidalign.common.sample import DatasetInfo, Sample
from vidalign.data.sets.base import AnnotationBuilder, Row, csv_columns, read_csv, read_json_names, read_jsonl

_OPTIONS = ("a0", "a1", "a2", "a3")
_PROCESSED = ("video_id", "start", "end", "question", *_OPTIONS, "answer_id")
_TOPA = ("uid", "video_id", "question", "answer", *_OPTIONS)
_AUTHORS = ("video_id", "clip", "a0", "a1", "a2", "question", "a3")
_CLIP = re.compile(r"\[\s*([\d.]+)\s*:\s*([\d.]+)\s*\]")


class How2QA(AnnotationBuilder):
    """Options are shuffled by the row's uid unless `official_order` is set; meta["option_order"] maps back.

    # Changed: BoViLA keeps the file's order, where the true option of public_val is always the first, so that any bias
    # for a position moves the score; with official_order the rows equal case data_how2qa.
    """

    info = DatasetInfo(name="how2qa", task="mc_qa")
    authors_counts: ClassVar = {"train": 35405, "val": 2852, "test_public": 2937}

    def rows_of(self, split: str) -> Iterable[Row]:
        """Rows in the processed csv's fields, whichever distribution they come from."""
        path = self.file(f"{split}.csv", f"how2qa_{split}_release.jsonl", f"how2QA_{split}_release.csv")
        if path.name == f"{split}.csv" and "uid" in csv_columns(path):
            return (self._from_topa(row) for row in read_csv(path, _TOPA))
        if path.name == f"{split}.csv":
            return read_csv(path, _PROCESSED)
        if path.suffix == ".jsonl":
            return (self._from_value(row) for row in read_jsonl(path))
        return (self._from_authors(row) for row in read_csv(path, _AUTHORS, header=False))

    def expected_count(self, split: str) -> int | None:
        """Counted for the authors' files only; FrozenBiLM's public_val has lost one row of the authors' val."""
        if (self.root / f"{split}.csv").is_file():
            return 2851 if split == "public_val" else None
        jsonl = self.root / f"how2qa_{split}_release.jsonl"
        return None if jsonl.is_file() else self.authors_counts.get(split)

    def sample(self, row: Row, split: str) -> Sample:
        """uid by the file's qid, by the row number where it has none."""
        options = row.texts(_OPTIONS)
        answer = row.index_in("answer_id", len(options))
        video = row.text("video_id")
        sample = Sample(
            uid=self.uid(split, row.text("qid") if row.has("qid") else row.index),
            dataset=self.info.name,
            split=split,
            task="mc_qa",
            media=self.media(row.values.get("features") or video, f"{video}.mp4"),
            span=row.span("start", "end"),
            question=row.text("question"),
            options=options,
            answer_idx=answer,
            answer=None if answer is None else options[answer],
            meta=row.rest((*_PROCESSED, "clip", "features")),
        )
        return sample if self.config.official_order else shuffled(sample)

    @staticmethod
    def _from_topa(row: Row) -> Row:
        native = row.text("uid")
        values = {"qid": native, "features": f"{row.text('video_id')}_{native}", "answer_id": row.get("answer")}
        return replace(row, values={**row.values, **values})

    def _from_value(self, row: Row) -> Row:
        start, _, end = row.text("ts").rpartition("-")
        video = row.text("vid_name")
        values: dict[str, Any] = {
            **row.values,
            "video_id": self._clip_names.get(video, video),
            "question": row.text("q"),
            "answer_id": row.values.get("answer_idx"),
        }
        row.check_span("ts", start, end)
        return replace(row, values=values | {"start": start, "end": end})

    @staticmethod
    def _from_authors(row: Row) -> Row:
        clip = _CLIP.fullmatch(row.text("clip").strip())
        if clip is None:
            raise row.error("clip", "the second column must look like [12.5:20] (seconds)")
        return replace(row, values={**row.values, "start": clip[1], "end": clip[2], "answer_id": "3"})

    @cached_property
    def _clip_names(self) -> dict[str, str]:
        path = self.root / "how2_vid_mapping.json"
        return read_json_names(path) if path.is_file() else {}


def shuffled(sample: Sample) -> Sample:
    """The same question with its options in an order drawn from the uid, the same in every run.

    meta["option_order"][i] is the place in the file of the option now at i.
    """
    order = sorted(range(len(sample.options)), key=lambda place: draw_seed(0, 0, sample.uid, f"option {place}"))
    return replace(
        sample,
        options=tuple(sample.options[place] for place in order),
        answer_idx=None if sample.answer_idx is None else order.index(sample.answer_idx),
        meta={**sample.meta, "option_order": tuple(order)},
    )
