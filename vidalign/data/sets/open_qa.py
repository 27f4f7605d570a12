"""Questions with short free answers: MSRVTT-QA, MSVD-QA, ActivityNet-QA (specification benchmarks, section 10).

Read are the classic files, the processed ones of LAVIS, Violet and LF-VILA, and the question and answer lists of the
judged zero-shot protocol (`<split>_q.json` beside `<split>_a.json`, joined by question_id, never by position).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from vidalign.common.errors import DataError
from vidalign.common.sample import DatasetInfo, Sample
from vidalign.data.sets.base import AnnotationBuilder
from vidalign.data.sets.files import FoundFile
from vidalign.data.sets.rows import Row, read_json, read_json_rows, read_jsonl, told_as_data_error

_FIRST_WORDS = ("what", "who", "how", "when", "where")
_VIOLET_SPLITS = ("train", "val", "test")


def joined(questions: Path, answers: Path) -> Iterator[Row]:
    """Rows of a question list with the fields of the answer list, by question_id; no answers where there is no file.

    DataError for a question without answer, an answer without question, or an id that occurs twice in the answers.
    """
    if not answers.is_file():
        yield from read_json_rows(questions)
        return
    found: dict[str, Row] = {}
    for row in read_json_rows(answers):
        if row.text("question_id") in found:
            raise row.error("question_id", "two answers to this question; remove one")
        found[row.text("question_id")] = row
    for row in read_json_rows(questions):
        answer = found.pop(row.text("question_id"), None)
        if answer is None:
            raise row.error("question_id", f"no answer to it in {answers.name}; take both files of one release")
        yield replace(row, values={**row.values, **answer.values})
    if found:
        row = next(iter(found.values()))
        raise row.error("question_id", f"{len(found)} answers without a question in {questions.name}, this the first")


def violet_splits(path: Path) -> list[str]:
    """The splits that a file of Violet's form holds."""
    content = read_json(path)
    return [name for name in _VIOLET_SPLITS if isinstance(content, dict) and name in content]


def violet_rows(path: Path, split: str) -> Iterator[Row]:
    """One split of a file {"train": [...], "val": [...], "test": [...], "vocab": [...]}; answers there are places in
    the vocabulary."""
    content = read_json(path)
    items = content.get(split) if isinstance(content, dict) else None
    if not isinstance(items, list) or not all(isinstance(one, dict) for one in items):
        raise DataError(f"{path}: an object with a list of objects {split!r} expected")
    vocabulary = content.get("vocab")
    if vocabulary is not None and not isinstance(vocabulary, list):
        raise DataError(f"{path}: `vocab` must be the list of answers")
    for index, values in enumerate(items):
        row = Row(path, f"{split} item {index + 1}", index, values)
        if vocabulary is not None:
            place = row.values.get("answer")
            known = isinstance(place, int) and 0 <= place < len(vocabulary)
            row = replace(row, values={**values, "answer": vocabulary[place] if known else None, "answer_place": place})
        yield row


class OpenQA(AnnotationBuilder):
    """Base of the three: which fields a row has, whichever form it comes from."""

    companions: ClassVar = ("{split}_a.json", "{split}_list.txt", "youtube_mapping.txt", "train_ans2label.json")
    native_names: ClassVar = ("question_id", "id", "qid")
    video_names: ClassVar = ("video_id", "video_name", "video")

    @property
    def media_root(self) -> Path:
        """`videos`, or the folder that the judged protocol's packages call `all` or `all_test`."""
        named = (self.root / name for name in ("videos", "all", "all_test"))
        there = None if self.config.videos else next((folder for folder in named if folder.is_dir()), None)
        return there or super().media_root

    @classmethod
    def parts(cls, found: FoundFile) -> list[str]:
        """The splits of a file of Violet's form."""
        return violet_splits(found.path)

    def rows_of(self, split: str) -> Iterable[Row]:
        """Rows of whichever file there is."""
        path = self.split_file(split)
        if path.suffix == ".jsonl":
            return read_jsonl(path)
        if path.name.startswith("txt_"):
            return violet_rows(path, split)
        if path.stem.endswith("_q"):
            return joined(path, path.with_name(f"{path.stem.removesuffix('_q')}_a.json"))
        return read_json_rows(path)

    def sample(self, row: Row, split: str) -> Sample:
        """uid by the file's id, by the row number where it has none."""
        video = row.text(next((name for name in self.video_names if name in row.values), self.video_names[0]))
        native = next((row.text(name) for name in self.native_names if row.has(name)), str(row.index))
        answer = row.values.get("answer")
        as_class = isinstance(answer, int) and row.file.suffix == ".jsonl"  # LF-VILA: a place in its answer list
        text = None if answer is None or as_class else row.text("answer")
        video_id, path = self.video(video)
        return Sample(
            uid=self.uid(split, native),
            dataset=self.info.name,
            split=split,
            task="open_qa",
            media=self.media(video_id, path),
            question=row.text("question"),
            answer=text,
            answers=() if text is None else (text,),
            label=float(answer) if as_class else None,
            qtype=self.qtype(row),
            meta=row.rest(("question", "answer", *self.video_names, *self.native_names)),
        )

    def video(self, name: str) -> tuple[str, str]:
        """(id, file) of the video that a row names."""
        stem = name.removesuffix(".mp4").removesuffix(".avi")
        return stem, f"{stem}.mp4"

    def qtype(self, row: Row) -> str | None:
        """The question's first word, one of what, who, how, when, where; "other" for the rest."""
        word = row.text("question").strip().lower().partition(" ")[0]
        return word if word in _FIRST_WORDS else "other"


class MsrvttQA(OpenQA):
    """`<split>_qa.json` of MSRVTT-QA, `qa_<split>.json` of LAVIS, `<split>_q.json` with `<split>_a.json`.

    Videos `video<id>.mp4`.
    """

    info = DatasetInfo(name="msrvtt_qa", task="open_qa", expected_counts={"train": 158581, "val": 12278, "test": 72821})
    patterns: ClassVar = ("{split}_qa.json", "qa_{split}.json", "{split}_q.json", "txt_msrvtt-qa.json")

    def video(self, name: str) -> tuple[str, str]:
        """`video<number>`, with or without the word in the file."""
        stem = name.removesuffix(".mp4")
        stem = f"video{stem}" if stem.isdigit() else stem
        return stem, f"{stem}.mp4"


class MsvdQA(OpenQA):
    """`<split>_qa.json` of MSVD-QA with `youtube_mapping.txt`, LAVIS's, Violet's `txt_msvd-qa.json`, `<split>_q.json`.

    Videos `<youtube name>.avi`; the numbered ones (vid12) are looked up in the mapping.
    """

    info = DatasetInfo(name="msvd_qa", task="open_qa", expected_counts={"train": 30933, "val": 6415, "test": 13157})
    patterns: ClassVar = ("{split}_qa.json", "qa_{split}.json", "{split}_q.json", "txt_msvd-qa.json")

    def video(self, name: str) -> tuple[str, str]:
        """The mapped file where the row has a number; `vid<number>` without a mapping."""
        stem = name.removesuffix(".avi").removesuffix(".mp4")
        stem = f"vid{stem}" if stem.isdigit() else stem
        stem = self._files.get(stem, stem)
        return stem, f"{stem}.avi"

    @cached_property
    def _files(self) -> Mapping[str, str]:
        path = self.root / "youtube_mapping.txt"
        if not path.is_file():
            return {}
        with told_as_data_error(path):
            pairs = [line.split() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        bad = next((number for number, pair in enumerate(pairs, start=1) if len(pair) != 2), None)
        if bad is not None:
            raise DataError(f"{path}:{bad}: `<file> vid<number>` expected")
        return {number: file for file, number in pairs}


class ActivityNetQA(OpenQA):
    """`<split>_q.json` with `<split>_a.json`; LF-VILA's `<split>.jsonl`, where the answer is a class or -1.

    Types 0 motion, 1 spatial, 2 temporal, 3 yes/no, 4 colour, 5 object, 6 location, 7 number, 8 other; 3 to 8 are
    "free". Videos `v_<video_name>.mp4`.
    """

    info = DatasetInfo(
        name="activitynet_qa",
        task="open_qa",
        groups={
            "motion": ("0",),
            "spatial": ("1",),
            "temporal": ("2",),
            "free": ("3", "4", "5", "6", "7", "8"),
        },
        expected_counts={"train": 32000, "val": 18000, "test": 8000},
    )
    expected_parts: ClassVar = {"train": {"videos": 3200}, "val": {"videos": 1800}, "test": {"videos": 800}}
    patterns: ClassVar = ("{split}_q.json", "{split}.jsonl")

    def video(self, name: str) -> tuple[str, str]:
        """The files are named with v_ before the id."""
        stem = name if name.startswith("v_") and len(name) == 13 else f"v_{name}"
        return stem, f"{stem}.mp4"

    def qtype(self, row: Row) -> str | None:
        """The file's type; None where the answers are hidden."""
        return row.text("type") if row.has("type") else None


def answer_vocabulary(samples: Iterable[Sample], *, at_least: int = 2) -> dict[str, int]:
    """Answer -> class: the answers that occur at least so often, the commonest first, equally common ones in the order
    of the file. With 2, ActivityNet-QA's train split gives the 1,654 classes of LF-VILA."""
    counts: dict[str, int] = {}
    for sample in samples:
        for answer in sample.answers:
            counts[answer] = counts.get(answer, 0) + 1
    kept = sorted((answer for answer, count in counts.items() if count >= at_least), key=lambda a: -counts[a])
    return {answer: place for place, answer in enumerate(kept)}
