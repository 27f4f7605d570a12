"""STAR situated reasoning (specification benchmarks, section 2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from vidalign.common.sample import DatasetInfo, Sample
from vidalign.data.sets.base import AnnotationBuilder
from vidalign.data.sets.rows import Row, read_json_rows

_TYPES = ("Interaction", "Sequence", "Prediction", "Feasibility")
# Ground-truth graphs; large, and never to be seen by a model.
_GRAPHS = ("situations", "question_program")


class Star(AnnotationBuilder):
    """`STAR_<split>.json`, or `<split>.json` as processed by SeViLA / ViLA; videos `<video_id>.mp4`.

    Headline "accuracy" is the micro average, which BoViLA and LLaMA-VQA call Total; the mean of the four types, which
    the challenge and ViLA report, stands beside it as the macro average.
    """

    info = DatasetInfo(
        name="star",
        task="mc_qa",
        groups={name: (name,) for name in _TYPES},
        submission="star",
        expected_counts={"train": 45731, "val": 7098, "test": 7377},
    )
    expected_parts: ClassVar = {"val": dict(zip(_TYPES, (2398, 3586, 624, 490), strict=True))}
    patterns = ("STAR_{split}.json", "{split}.json")
    companions: ClassVar = (
        *("split_file.json", "Video_Segments.csv", "Video_Keyframe_IDs.csv"),
        *("action_classes.txt", "action_mapping.txt"),
    )
    type_numbers: ClassVar = {name: number for number, name in enumerate(_TYPES, start=1)}

    def rows_of(self, split: str) -> Iterable[Row]:
        """Items of the json list; SeViLA's processed rows are turned into raw ones."""
        rows = read_json_rows(self.split_file(split))
        return (_from_sevila(row) if "num_option" in row.values else row for row in rows)

    def sample(self, row: Row, split: str) -> Sample:
        """Options in the order of their choice_id; the answer is located by its text."""
        native = row.text("question_id")
        kind = native.split("_")[0]
        if kind not in _TYPES:
            raise row.error("question_id", f"it must begin with one of {', '.join(_TYPES)}")
        options = self._options(row)
        answer = row.text("answer") if row.has("answer") else None
        if answer is not None and answer not in options:
            raise row.error("answer", f"not one of the choices {list(options)}")
        video = row.text("video_id")
        return Sample(
            uid=self.uid(split, native),
            dataset=self.info.name,
            split=split,
            task="mc_qa",
            media=self.media(video, f"{video}.mp4"),
            span=row.span("start", "end"),
            question=row.text("question"),
            options=options,
            answer_idx=None if answer is None else options.index(answer),
            answer=answer,
            qtype=kind,
            meta=row.rest((*_GRAPHS, "video_id", "start", "end", "question", "choices", "answer")),
        )

    @staticmethod
    def _options(row: Row) -> tuple[str, ...]:
        choices = row.get("choices")
        if not isinstance(choices, list) or not all(
            isinstance(c, dict) and "choice_id" in c and "choice" in c for c in choices
        ):
            raise row.error("choices", "a list of {choice_id, choice} expected")
        try:
            ordered = sorted(choices, key=lambda choice: choice["choice_id"])
        except TypeError:
            raise row.error("choices", "the choice_ids must be numbers that can be put in order") from None
        if len({choice["choice_id"] for choice in ordered}) != len(ordered):
            raise row.error("choices", "every choice_id may occur once only")
        return tuple(row.as_text("choices", choice["choice"]) for choice in ordered)


def _from_sevila(row: Row) -> Row:
    """{video, num_option, qid, question, a0..a3, answer (index), start, end}."""
    texts = [row.text(f"a{place}") for place in range(4)]
    index = row.index_in("answer", len(texts))
    values = {"question_id": row.text("qid"), "video_id": row.text("video").rpartition("/")[2]}
    values["choices"] = [{"choice_id": place, "choice": text} for place, text in enumerate(texts)]
    values["answer"] = None if index is None else texts[index]
    drop = {"a0", "a1", "a2", "a3", "qid", "video"}
    rest = {key: value for key, value in row.values.items() if key not in drop}
    return Row(row.file, row.place, row.index, {**rest, **values})
