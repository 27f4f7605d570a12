"""TextVID, the textual videos of TOPA (arXiv 2405.13911), and captioned WebVid as TOPA trains on it.

Specification topa, sections 4.5 and 7.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from vidalign.common.errors import DataError
from vidalign.common.sample import QA, DatasetInfo, Media, Sample
from vidalign.data.sets.base import AnnotationBuilder, Row, read_json, read_json_rows
from vidalign.data.sets.files import FoundFile

_LETTERS = string.ascii_uppercase


class TextVid(AnnotationBuilder):
    """`textvid.json` (split train; `textvid_<split>.json` for any other), `features/<idx>.pkl`.

    One Sample per textual video: its frames' captions, its global caption as the one text, and all its questions. A
    question whose answer is not one of its options is kept with its problem, and fails by name when it is drawn.
    """

    info = DatasetInfo(name="textvid", task="textvideo")
    patterns = ("textvid.json", "textvid_{split}.json")

    @classmethod
    def parts(cls, found: FoundFile) -> list[str]:
        """textvid.json is the split train."""
        return ["train"]

    def rows_of(self, split: str) -> Iterable[Row]:
        """Items of the json list."""
        other = "textvid.json" if split == "train" else f"textvid_{split}.json"
        return read_json_rows(self.given or self.file(other))

    def sample(self, row: Row, split: str) -> Sample:
        """uid by `idx`, which is also the name of the feature file."""
        native = row.text("idx")
        return Sample(
            uid=self.uid(split, native),
            dataset=self.info.name,
            split=split,
            task="textvideo",
            media=Media(kind="text_frames", video_id=native, path=native),
            texts=(row.text("global_video_caption"),),
            text_frames=frame_captions(row),
            qas=_questions(row),
            meta=row.rest(("frames", "QAs", "global_video_caption")),
        )


class WebVid(AnnotationBuilder):
    """`<split>.json`, `features.pkl` (a dictionary by `feature_idx`): one caption per video, no question."""

    info = DatasetInfo(name="webvid", task="caption")
    patterns = ("{split}.json", "txt_webvid2.5m.json")

    @classmethod
    def parts(cls, found: FoundFile) -> list[str]:
        """The splits of Violet's file {split: {video: [caption]}}."""
        content = read_json(found.path)
        return [name for name in ("train", "val") if isinstance(content, dict) and name in content]

    def rows_of(self, split: str) -> Iterable[Row]:
        """Items of the json list; Violet's file gives every video a list of captions, nearly always one."""
        path = self.split_file(split)
        return _violet(path, split) if path.name.startswith("txt_") else read_json_rows(path)

    def sample(self, row: Row, split: str) -> Sample:
        """uid by `feature_idx`, and #<k> for the further captions of a video."""
        video, further = row.text("feature_idx"), row.values.get("further", "")
        return Sample(
            uid=self.uid(split, f"{video}{further}"),
            dataset=self.info.name,
            split=split,
            task="caption",
            media=self.media(video, f"{video}.mp4"),
            texts=(row.text("caption"),),
            meta=row.rest(("feature_idx", "caption", "further")),
        )


def _violet(path: Path, split: str) -> Iterator[Row]:
    content = read_json(path)
    videos = content.get(split) if isinstance(content, dict) else None
    if not isinstance(videos, dict) or not all(isinstance(one, list) and one for one in videos.values()):
        raise DataError(f"{path}: an object with {split!r}, which has a list of captions for each video, expected")
    pairs = ((video, number, text) for video, texts in videos.items() for number, text in enumerate(texts))
    for index, (video, number, text) in enumerate(pairs):
        values = {"feature_idx": video, "caption": text, "further": f"#{number}" if number else ""}
        yield Row(path, f"{split} video {video}", index, values)


def frame_captions(row: Row) -> tuple[tuple[str, ...], ...]:
    """The captions of each frame; their order is that of the feature rows."""
    frames = row.get("frames")
    if not isinstance(frames, list) or not frames or not all(isinstance(one, dict) and one for one in frames):
        raise row.error("frames", "a list of frames, each an object with at least one caption, expected")
    return tuple(tuple(row.as_text("frames", caption) for caption in frame.values()) for frame in frames)


def _questions(row: Row) -> tuple[QA, ...]:
    entries = row.get("QAs")
    if not isinstance(entries, list) or not entries:
        raise row.error("QAs", "a list of at least one question expected")
    return tuple(_question(entry, f"question {number} of {row.place}") for number, entry in enumerate(entries, start=1))


def _question(entry: Any, place: str) -> QA:
    """A question; whatever is wrong with it becomes its problem."""
    if not isinstance(entry, dict):
        return QA(problem=f"{place} is a {type(entry).__name__}, an object with question, options, answer expected")
    question, options, answer = (entry.get(name) for name in ("question", "options", "answer"))
    if not isinstance(question, str) or not question.strip():
        return QA(problem=f"{place} has no text in `question`")
    if not isinstance(options, list) or not 2 <= len(options) <= len(_LETTERS):
        return QA(problem=f"{place}: `options` must be a list of 2 to 26 texts, found {str(options)[:60]!r}")
    options = tuple(str(option) for option in options)
    index = (
        _LETTERS[: len(options)].find(answer.strip()) if isinstance(answer, str) and len(answer.strip()) == 1 else -1
    )
    if index < 0:
        return QA(problem=f"{place}: answer {answer!r} is not one of the letters A to {_LETTERS[len(options) - 1]}")
    opened = entry.get("answer_open_ended")
    return QA(
        question=question,
        options=options,
        answer_idx=index,
        answer=opened if isinstance(opened, str) and opened.strip() else None,
    )
