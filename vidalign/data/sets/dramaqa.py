"""DramaQA (specification benchmarks, section 7)."""

from __future__ import annotations

from collections.abc import Iterable

from vidalign.common.sample import DatasetInfo, Sample
from vidalign.data.sets.base import AnnotationBuilder, Row, read_json_rows


class DramaQA(AnnotationBuilder):
    """`AnotherMissOhQA_<split>_set.json`; features keyed by shot.

    A `vid` that ends in 0000 is a scene: its shots follow one another in `media.parts`. Any other is one shot.
    """

    info = DatasetInfo(
        name="dramaqa",
        task="mc_qa",
        expected_counts={"train": 11118, "val": 3412, "test": 3453},
    )

    patterns = ("AnotherMissOhQA_{split}_set.json",)

    def rows_of(self, split: str) -> Iterable[Row]:
        """Items of the json list."""
        return read_json_rows(self.split_file(split))

    def sample(self, row: Row, split: str) -> Sample:
        """Five answers; the label is hidden in test. qtype is the level 1-4 of the question."""
        answers = row.get("answers")
        if not isinstance(answers, list) or len(answers) < 2:
            raise row.error("answers", "a list of the answer texts expected")
        options = tuple(row.as_text("answers", answer) for answer in answers)
        answer = row.index_in("correct_idx", len(options))
        video = row.text("vid")
        level = next((name for name in ("q_level_logic", "qa_level") if row.has(name)), None)
        return Sample(
            uid=self.uid(split, row.text("qid") if row.has("qid") else row.index),
            dataset=self.info.name,
            split=split,
            task="mc_qa",
            media=self.media(video, f"{video}.mp4", parts=_shots(row, video)),
            question=row.text("que"),
            options=options,
            answer_idx=answer,
            answer=None if answer is None else options[answer],
            qtype=None if level is None else row.text(level),
            meta=row.rest(("answers", "correct_idx", "que", "vid")),
        )


def _shots(row: Row, video: str) -> tuple[str, ...]:
    if not video.endswith("0000"):
        return ()
    shots = row.get("shot_contained")
    if not isinstance(shots, list) or not 1 <= len(shots) <= 2 or not all(isinstance(s, int) for s in shots):
        raise row.error("shot_contained", "[first, last] or [only] shot number expected")
    if not 0 <= shots[0] <= shots[-1] <= 9999:  # four digits in the shot's name
        raise row.error("shot_contained", "the first shot must not come after the last, and both lie in 0..9999")
    # The last of a single shot is the shot itself; both ends count.
    return tuple(f"{video[:-4]}{number:04}" for number in range(shots[0], shots[-1] + 1))
