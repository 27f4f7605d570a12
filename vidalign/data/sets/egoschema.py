"""EgoSchema and Perception Test as TOPA reads them (specifications benchmarks, section 8, and topa, section 7)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

from vidalign.common.errors import DataError
from vidalign.common.sample import DatasetInfo, Sample
from vidalign.data.sets.base import AnnotationBuilder, Row, read_csv, read_json_rows
from vidalign.data.sets.files import FoundFile
from vidalign.data.sets.rows import read_json_object

_OPTIONS = ("a0", "a1", "a2", "a3", "a4")
_COLUMNS = ("uid", "question", "answer", *_OPTIONS)
# TOPA's names of the two splits; the 500 labelled questions are no validation set of a training set.
_TWINS = {"val": "subset", "test": "full"}


class EgoSchema(AnnotationBuilder):
    """The benchmark's `questions.json` with `subset_answers.json`, or TOPA's `val.csv` (subset) and `test.csv` (full).

    Splits: subset (or val), the 500 questions whose answers are public, and full (or test), all 5,031 with hidden
    answers, for which a run writes the submission file.
    """

    info = DatasetInfo(
        name="egoschema",
        task="mc_qa",
        expected_counts={"subset": 500, "val": 500, "full": 5031, "test": 5031},
        submission="egoschema",
    )
    patterns = ("questions.json", "{split}.csv")
    companions = ("subset_answers.json", "uid_to_ego4d.json")
    split_names: ClassVar = {twin: name for name, twin in _TWINS.items()}

    @classmethod
    def parts(cls, found: FoundFile) -> list[str]:
        """questions.json holds both; the subset is there when its answers are."""
        answers = found.root / "subset_answers.json"
        return ["full", "subset"] if answers.is_file() else ["full"]

    def rows_of(self, split: str) -> Iterable[Row]:
        """Rows in the csv's fields."""
        part = _TWINS.get(split, split)
        if part not in _TWINS.values():
            raise DataError(f"egoschema: unknown split {split!r}; there are subset (or val) and full (or test)")
        names = [f"{name}.csv" for name in (part, *(twin for twin, of in _TWINS.items() if of == part))]
        path = self.given or self.file("questions.json", *names)
        if path.suffix == ".csv":
            return read_csv(path, _COLUMNS)
        rows = [self._raw(row) for row in read_json_rows(path)]
        if part == "full":
            return rows
        asked = {row.text("uid") for row in rows}
        self.left_out += [f"subset_answers.json: {uid} is no question" for uid in self._answers if uid not in asked]
        return [row for row in rows if row.text("uid") in self._answers]

    def sample(self, row: Row, split: str) -> Sample:
        """uid by the question's id, which is also the video's."""
        native, options = row.text("uid"), row.texts(_OPTIONS)
        if not row.text("question").strip():
            raise row.error("question", "the question is empty; take a file of the benchmark that has the questions")
        index = row.index_in("answer", len(options))
        # In the full set's csv any index stands for the hidden answer.
        known = index if _TWINS.get(split, split) == "subset" else None
        if known is None and _TWINS.get(split, split) == "subset":
            raise row.error("answer", "the subset's answers are public; this row has none")
        return Sample(
            uid=self.uid(split, native),
            dataset=self.info.name,
            split=split,
            task="mc_qa",
            media=self.media(native, f"{native}.mp4"),
            question=row.text("question"),
            options=options,
            answer_idx=known,
            answer=None if known is None else options[known],
            meta=row.rest(_COLUMNS) | {"filler_answer": index},
        )

    @cached_property
    def _answers(self) -> dict[str, Any]:
        return read_json_object(self.file("subset_answers.json"), "from q_uid to the answer's index")

    def _raw(self, row: Row) -> Row:
        """A row of questions.json under the csv's names; the first public file had no `question`."""
        if "question" not in row.values:
            raise row.error("question", "missing; the first public questions.json lacked it, get the present one")
        options = {f"a{number}": row.text(f"option {number}") for number in range(len(_OPTIONS))}
        native = row.text("q_uid")
        has_answers = (self.root / "subset_answers.json").is_file()
        answer = self._answers.get(native) if has_answers else None
        return replace(row, values={**row.values, **options, "uid": native, "answer": answer})


class Perception(AnnotationBuilder):
    """Multiple choice of the Perception Test as TOPA reads it: `<split>.csv` with three options, one file of features
    per question, named by its uid."""

    info = DatasetInfo(name="perception", task="mc_qa")
    patterns = ("{split}.csv",)

    def rows_of(self, split: str) -> Iterable[Row]:
        """csv rows."""
        return read_csv(self.split_file(split), ("uid", "question", "answer", "a0", "a1", "a2"))

    def sample(self, row: Row, split: str) -> Sample:
        """uid by the file's."""
        native, options = row.text("uid"), row.texts(_OPTIONS[:3])
        answer = row.index_in("answer", len(options))
        video = row.text("video_id") if row.has("video_id") else native
        return Sample(
            uid=self.uid(split, native),
            dataset=self.info.name,
            split=split,
            task="mc_qa",
            media=self.media(native if self.config.features else video, f"{video}.mp4"),
            question=row.text("question"),
            options=options,
            answer_idx=answer,
            answer=None if answer is None else options[answer],
            meta=row.rest(("uid", "question", "answer", *_OPTIONS[:3])),
        )
