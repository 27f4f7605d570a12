"""A researcher's own data: `<split>.jsonl`, one JSON object per line. docs/own_data.md describes the format.

The short form names a video and what is asked: {"id", "video", "question", "options", "answer_idx" ...}. The lines that
`data_prep` writes (unified samples, common/sample.py) are read too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, ClassVar

from vidalign.common.errors import DataError, nearest
from vidalign.common.options import option
from vidalign.common.sample import TASKS, DatasetInfo, Media, Sample, from_dict
from vidalign.data.sets.base import AnnotationBuilder
from vidalign.data.sets.config import DatasetConfig
from vidalign.data.sets.rows import Row, read_jsonl
from vidalign.data.sets.subtitles import subtitle_lines

# field -> what it must be
_TEXTS = ("question", "answer", "qtype")
_LISTS = ("options", "answers", "texts")
_PAIRS = ("windows", "text_spans")
_NUMBERS = ("label", "clip_len", "duration_seconds", "fps")
FIELDS = (
    *("id", "video", "start", "end", "answer_idx", "subtitles", "task", "meta"),
    *(*_TEXTS, *_LISTS, *_PAIRS, *_NUMBERS),
)
# task -> fields without which a row of it cannot be used for training or scoring
NEEDED: Mapping[str, tuple[str, ...]] = {
    "mc_qa": ("options",),
    "open_qa": ("question",),
    "retrieval": ("texts",),
    "entailment": ("question",),
    "moment": ("question",),
}
# tasks whose rows are trained on a `label`
LABELLED = ("classification", "regression", "entailment")
# task -> the metric that picks best.pt, where it is not the accuracy
HEADLINES: Mapping[str, str] = {"caption": "cider", "moment": "R1@0.5", "regression": "mse", "retrieval": "R@1"}


@dataclass
class OwnDataConfig(DatasetConfig):
    """DatasetConfig and the task of the rows."""

    task: str = option("mc_qa", "task of the rows that name none", choices=TASKS)


class OwnData(AnnotationBuilder):
    """`<split>.jsonl`; videos under `videos/` (or `videos:` of the config), named with or without a suffix."""

    info = DatasetInfo(name="own_data", task="mc_qa")
    patterns: ClassVar = ("{split}.jsonl",)

    def __init__(self, config: OwnDataConfig) -> None:
        super().__init__(config)
        self.info = DatasetInfo(name="own_data", task=config.task, headline=HEADLINES.get(config.task, "accuracy"))

    def rows_of(self, split: str) -> Iterable[Row]:
        """Lines of the file."""
        return read_jsonl(self.split_file(split))

    def sample(self, row: Row, split: str) -> Sample:
        """A line in the short form, or a unified sample (told by its `uid`)."""
        sample = self._unified(row) if "uid" in row.values else self._short(row, split)
        self._check(row, sample, trained=split in ("train", self.config.train))
        return sample

    @staticmethod
    def _unified(row: Row) -> Sample:
        try:
            return from_dict(row.values)
        except (DataError, TypeError, KeyError, ValueError, AttributeError) as error:
            raise DataError(f"{row.file}, {row.place}: not a sample: {error}") from error

    def _short(self, row: Row, split: str) -> Sample:
        self._check_names(row)
        task = row.text("task") if row.has("task") else self.config.task
        missing = [name for name in NEEDED.get(task, ()) if not row.has(name)]
        if task not in TASKS or missing:
            problem = f"needs {', '.join(missing)}" if missing else f"is none of {', '.join(TASKS)}"
            raise DataError(f"{row.file}, {row.place}: the task {task!r} {problem}")
        values: dict[str, Any] = {name: row.text(name) for name in _TEXTS if row.has(name)}
        values |= {name: self._list(row, name) for name in _LISTS if row.has(name)}
        values |= {name: self._pairs(row, name) for name in _PAIRS if row.has(name)}
        values |= {name: row.number(name) for name in ("label", "clip_len") if row.has(name)}
        values |= self._answer(row, values)
        return Sample(
            uid=self.uid(split, row.text("id") if row.has("id") else row.index),
            dataset=self.info.name,
            split=split,
            task=task,
            media=self._media(row),
            span=row.span("start", "end"),
            subtitles=subtitle_lines(row, "subtitles") if row.has("subtitles") else None,
            meta={"row": row.index, **self._meta(row)},
            **values,
        )

    @staticmethod
    def _check(row: Row, sample: Sample, *, trained: bool) -> None:
        """What would crash a later run, or teach it something wrong. trained: the split is one to train on."""
        if len(sample.options) == 1 or (sample.task == "mc_qa" and not sample.options):
            raise row.error("options", "two or more texts expected")
        if sample.task == "retrieval" and not any(text.strip() for text in sample.texts):
            raise row.error("texts", "at least one sentence expected")
        if sample.task not in LABELLED:
            return
        if sample.label is None:
            if trained:
                text = "needed for training; give it, or move rows whose label is unknown into another split"
                raise row.error("label", f"{sample.task}: {text}")
            return
        number = row.number("label")
        if sample.task == "entailment" and number not in (0, 1):
            raise row.error("label", "1 (the statement is true) or 0 (it is not) expected")
        if sample.task == "classification" and (number < 0 or not number.is_integer()):
            raise row.error("label", "the number of a class expected: whole, from 0; `regression` is for other numbers")

    @staticmethod
    def _meta(row: Row) -> Mapping[str, Any]:
        meta = row.values.get("meta") or {}
        if not isinstance(meta, dict):
            raise row.error("meta", "an object expected")
        return meta

    @staticmethod
    def _check_names(row: Row) -> None:
        for name in row.values:
            if name not in FIELDS:
                near = nearest(name, FIELDS)
                hint = f"; is {near!r} meant?" if near else ""
                raise DataError(
                    f"{row.file}, {row.place}: unknown field {name!r}{hint} Put what no model should see into `meta`. "
                    f"Known: {', '.join(FIELDS)}"
                )

    def _media(self, row: Row) -> Media:
        path = row.text("video")
        if not PurePosixPath(path).name:
            raise row.error("video", "the name of a file expected")
        numbers = {name: row.number(name) for name in ("fps", "duration_seconds") if row.has(name)}
        return self.media(str(PurePosixPath(path).with_suffix("")), path, **numbers)

    @staticmethod
    def _list(row: Row, name: str) -> tuple[str, ...]:
        value = row.get(name)
        if not isinstance(value, list):
            raise row.error(name, "a list of texts expected")
        return tuple(row.as_text(name, one) for one in value)

    @staticmethod
    def _pairs(row: Row, name: str) -> tuple[tuple[float, float], ...]:
        value = row.get(name)
        if not isinstance(value, list) or not all(isinstance(one, list) and len(one) == 2 for one in value):
            raise row.error(name, "a list of [start, end] in seconds expected")
        spans = [row.check_span(name, *one) for one in value]
        if None in spans:
            raise row.error(name, "every [start, end] needs its times")
        return tuple(spans)

    @staticmethod
    def _answer(row: Row, values: Mapping[str, Any]) -> dict[str, Any]:
        """answer_idx and answer of one another, where there are options; answers from answer, where there are none."""
        options, answer = values.get("options", ()), values.get("answer")
        index = row.index_in("answer_idx", len(options)) if options else None
        if options and index is None and answer is not None:
            if options.count(answer) != 1:
                text = f"it must be one of the {len(options)} options, exactly once; give answer_idx in its place"
                raise row.error("answer", text)
            index = options.index(answer)
        if options and answer is not None and options[index] != answer:
            text = f"answer_idx {index} is the option {options[index]!r}; correct one of the two or leave it out"
            raise row.error("answer", text)
        if options:
            return {"answer_idx": index, "answer": None if index is None else options[index]}
        return {"answers": (answer,)} if answer is not None and "answers" not in values else {}
