"""How2QA in its distributions (specification benchmarks, section 3), which must not be mixed.

The first that is found for a split is read:

- the processed `<split>.csv` (FrozenBiLM's form, used by BoViLA; times in a 60 s clip). With a column `uid` it is
  TOPA's: no times, features `<video_id>_<uid>`,
- `how2qa_<split>_release.jsonl` (VALUE; times in the clip),
- `how2QA_<split>_release.csv` (the authors'; no header, times in the whole YouTube video, the true option last in the
  file and first in official_order),
- `<split>.jsonl` (LF-VILA; made from VALUE, with subtitles in the rows), `<split>.json` (SeViLA / ViLA, from VALUE).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from vidalign.common.rng import draw_seed
from vidalign.common.sample import DatasetInfo, Sample
from vidalign.data.sets.base import AnnotationBuilder
from vidalign.data.sets.rows import (
    Row,
    csv_columns,
    read_csv,
    read_json_names,
    read_json_rows,
    read_jsonl,
)
from vidalign.data.sets.subtitles import subtitle_lines

_OPTIONS = ("a0", "a1", "a2", "a3")
_PROCESSED = ("video_id", "start", "end", "question", *_OPTIONS, "answer_id")
_TOPA = ("uid", "video_id", "question", "answer", *_OPTIONS)
# The true option stands last; FrozenBiLM and BoViLA put it first (label 0 in every row of public_val).
_AUTHORS = ("video_id", "clip", "a1", "a2", "a3", "question", "a0")
_CLIP = re.compile(r"\[\s*([\d.]+)\s*:\s*([\d.]+)\s*\]")
CLIP_SECONDS = 60


class How2QA(AnnotationBuilder):
    """Options are shuffled by the row's uid unless `official_order` is set; meta["option_order"] maps back.

    # Changed: BoViLA keeps the file's order, where the true option of public_val is always the first, so that any bias
    # for a position moves the score; with official_order the rows equal case data_how2qa.
    """

    info = DatasetInfo(name="how2qa", task="mc_qa")
    patterns: ClassVar = (
        "{split}.csv",
        "how2qa_{split}_release.jsonl",
        "how2QA_{split}_release.csv",
        "{split}.jsonl",
        "{split}.json",
    )
    companions: ClassVar = ("how2_vid_mapping.json",)
    authors_counts: ClassVar = {"train": 35405, "val": 2852, "test_public": 2937}

    def rows_of(self, split: str) -> Iterable[Row]:
        """Rows in the processed csv's fields, whichever distribution they come from."""
        path = self.split_file(split)
        if path.suffix == ".jsonl":
            return (_from_lf_vila(row) if row.has("clip_id") else self._from_value(row) for row in read_jsonl(path))
        if path.suffix == ".json":
            return map(_from_sevila, read_json_rows(path))
        if "uid" in csv_columns(path):
            return map(_from_topa, read_csv(path, _TOPA))
        if _has_header(path):
            return read_csv(path, _PROCESSED)
        return (self._from_authors(row) for row in read_csv(path, _AUTHORS, header=False))

    def expected_count(self, split: str) -> int | None:
        """Counted for the authors' files only; FrozenBiLM's public_val has lost one row of the authors' val."""
        path = self.split_file(split)
        if path.suffix != ".csv":
            return None
        if _has_header(path):
            return 2851 if split == "public_val" else None
        return self.authors_counts.get(split)

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
            subtitles=subtitle_lines(row, "text_s") if self.config.subtitles and row.has("text_s") else None,
            meta=row.rest((*_PROCESSED, "clip", "text_s", "features")),
        )
        return sample if self.config.official_order else shuffled(sample)

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

    def _from_authors(self, row: Row) -> Row:
        """Where features are read they are those of 60 s clips, `<video>_<from>_<to>`: then the clip that holds the
        start, and whole seconds in it, as FrozenBiLM's public_val has them (the end may lie after the clip's)."""
        clip = _CLIP.fullmatch(row.text("clip").strip())
        if clip is None:
            raise row.error("clip", "the second column must look like [12.5:20] (seconds)")
        values = {**row.values, "start": clip[1], "end": clip[2], "answer_id": "0"}
        if self.config.features:
            start, end = row.check_span("clip", clip[1], clip[2])
            before = int(start // CLIP_SECONDS) * CLIP_SECONDS
            values |= {"start": int(start - before), "end": int(end - before)}
            values["video_id"] = f"{row.text('video_id')}_{before}_{before + CLIP_SECONDS}"
        return replace(row, values=values)

    @cached_property
    def _clip_names(self) -> dict[str, str]:
        path = self.root / "how2_vid_mapping.json"
        return read_json_names(path) if path.is_file() else {}


def _has_header(path: Path) -> bool:
    columns = csv_columns(path)
    return not columns or bool({"answer_id", "uid"} & set(columns))


def _from_topa(row: Row) -> Row:
    native = row.text("uid")
    values = {"qid": native, "features": f"{row.text('video_id')}_{native}", "answer_id": row.get("answer")}
    return replace(row, values={**row.values, **values})


def _from_lf_vila(row: Row) -> Row:
    """clip_id, span [s, e] (NaN: the whole clip), text_q, text_a (four), text_s, answer_idx."""
    span, answers = row.get("span"), row.get("text_a")
    if not isinstance(span, list) or len(span) != 2:
        raise row.error("span", "[start, end] in seconds expected")
    if not isinstance(answers, list) or len(answers) != len(_OPTIONS):
        raise row.error("text_a", f"a list of {len(_OPTIONS)} answers expected")
    values = {name: value for name, value in row.values.items() if name not in ("text_a", "span", "clip_id", "text_q")}
    values |= dict(zip(_OPTIONS, answers, strict=True)) | {"start": span[0], "end": span[1]}
    values |= {
        "video_id": row.text("clip_id"),
        "question": row.text("text_q"),
        "answer_id": row.values.get("answer_idx"),
    }
    return replace(row, values=values)


def _from_sevila(row: Row) -> Row:
    """Undo the processing of SeViLA / ViLA: video as a path without suffix, "?" and "." kept as they are."""
    values = {**row.values, "video_id": row.text("video").rpartition("/")[2], "answer_id": row.values.get("answer")}
    return replace(row, values=values)


def shuffled(sample: Sample) -> Sample:
    """The same question with its options in an order drawn from the uid, the same in every run.

    meta["option_order"][i] is the place in the file of the option now at i.
    """
    order = sorted(range(len(sample.options)), key=lambda place: draw_seed(0, 0, sample.uid, f"option {place}"))
    return replace(
        sample,
        options=tuple(sample.options[place] for place in order),
        answer_idx=None if sample.answer_idx is None else order.index(sample.answer_idx),
        meta={**sample.meta, "option_order": order},
    )
