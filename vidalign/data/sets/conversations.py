"""Conversations about videos, pictures or nothing, in LLaVA's form: Valley-702k, Video-ChatGPT-100k, own files.

Specification video_panda, section 7. A row holds `conversations` (turns {"from": "human" | "gpt", "value": ...}) and
`video` or `image` (relative to the root) or neither. The processed files of Video-LLaVA are read as they are.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar

from vidalign.common.rng import draw_seed
from vidalign.common.sample import DatasetInfo, Media, Sample
from vidalign.data.sets.base import AnnotationBuilder
from vidalign.data.sets.files import FoundFile
from vidalign.data.sets.rows import Row, read_json_rows, read_words

_SPEAKERS = ("human", "gpt")


class Conversations(AnnotationBuilder):
    """`train_json/<split>.json` or `<split>.json`; pictures and videos lie under the root.

    uid by the row's number, as the official loader counts. `share` keeps the first part after one seeded shuffle.
    """

    info = DatasetInfo(name="conversations", task="dialogue", headline="loss")
    patterns: ClassVar = ("train_json/{split}.json", "{split}.json")

    @property
    def media_root(self) -> Any:
        """The root itself, unless the config names another folder under it."""
        return self.root / self.config.videos if self.config.videos else self.root

    def rows_of(self, split: str) -> Iterable[Row]:
        """Items of the json list."""
        return read_json_rows(self.split_file(split))

    def samples(self, split: str) -> list[Sample]:
        """All Samples of a split; with `share` below 1 the first part of them after a shuffle.

        Changed: the official shuffle is unseeded and another one in every process, so an epoch repeats and misses
        Samples; here it is one order for all.
        """
        samples = super().samples(split)
        share = self.config.share
        if share < 1.0:
            random.Random(draw_seed(0, 0, f"{self.info.name}/{split}", "share")).shuffle(samples)
            samples = samples[: int(len(samples) * share)]
        return samples

    def sample(self, row: Row, split: str) -> Sample:
        """One conversation; answers before the first question are dropped."""
        return Sample(
            uid=self.uid(split, row.index),
            dataset=self.info.name,
            split=split,
            task="dialogue",
            media=self._media(row),
            texts=_turns(row),
            meta=row.rest(("conversations", "video", "image")),
        )

    def _media(self, row: Row) -> Media | None:
        if row.has("video") and row.has("image"):
            raise row.error("image", "a row has a video or a picture, not both; remove one or split the row")
        for field, kind in (("video", "video"), ("image", "frames")):
            if row.has(field):
                path = row.text(field)
                return Media(kind=kind, video_id=path, path=path)
        return None


def _turns(row: Row) -> tuple[str, ...]:
    turns = row.get("conversations")
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        raise row.error("conversations", 'a list of turns {"from": ..., "value": ...} expected')
    if turns and turns[0].get("from") == "gpt":
        turns = turns[1:]
    if not turns:
        raise row.error("conversations", "it has no question")
    for number, turn in enumerate(turns):
        if turn.get("from") != _SPEAKERS[number % 2]:
            raise row.error("conversations", f"turn {number + 1} is not of {_SPEAKERS[number % 2]!r}; they alternate")
    return tuple(row.as_text("conversations", turn.get("value")) for turn in turns)


class Valley(Conversations):
    """Valley-702k in Video-LLaVA's release: `train_json/valley_.json`, WebVid clips with captions and instructions."""

    info = DatasetInfo(name="valley", task="dialogue", headline="loss")
    patterns: ClassVar = ("train_json/valley_.json", "valley_.json")

    @classmethod
    def parts(cls, found: FoundFile) -> list[str]:
        """The file is the split train."""
        return ["train"]


class VideoChatGPTTune(Conversations):
    """Video-ChatGPT-100k in Video-LLaVA's release: `train_json/videochatgpt_tune_.json`, ActivityNet clips.

    Read too are Video-ChatGPT's own `VideoInstruct_Dataset.json` {q, a, video_id}, as their converter turns it into
    conversations (the video after the question in even rows, before it in odd ones), and their list
    `train_video_ids.txt` (split `ids`: videos without text, to see which of them are there).
    """

    info = DatasetInfo(name="videochatgpt_tune", task="dialogue", headline="loss")
    expected_rows: ClassVar = {"ids": 13_303}
    patterns: ClassVar = (
        "train_json/videochatgpt_tune_.json",
        "videochatgpt_tune_.json",
        "VideoInstruct_Dataset.json",
        "train_video_ids.txt",
    )

    @classmethod
    def parts(cls, found: FoundFile) -> list[str]:
        """The list of ids is a split of its own."""
        return ["ids"] if found.path.suffix == ".txt" else ["train"]

    def rows_of(self, split: str) -> Iterable[Row]:
        """Items of the json list, the raw ones as conversations; one row per id of the list."""
        path = self.given or self.file(*(self.patterns[3:] if split == "ids" else self.patterns[:3]))
        if path.suffix != ".txt":
            return (_instruction(row) if row.has("video_id") else row for row in read_json_rows(path))
        videos = read_words(path)
        self.count_rows(split, len(videos), "videos")
        return [Row(path, f"line {i + 1}", i, {"video": _instructed(video)}) for i, video in enumerate(videos)]

    def sample(self, row: Row, split: str) -> Sample:
        """One conversation, or one video of the list."""
        if split != "ids":
            return super().sample(row, split)
        media, uid = self._media(row), self.uid(split, row.index)
        return Sample(uid=uid, dataset=self.info.name, split=split, task="dialogue", media=media, meta=row.rest(()))


def _instructed(video: str) -> str:
    return f"videochatgpt_tune/{video}.mp4"


def _instruction(row: Row) -> Row:
    """{q, a, video_id} as a conversation."""
    question = row.text("q")
    asked = f"{question}\n<video>" if row.index % 2 == 0 else f"<video>\n{question}"
    turns = [{"from": "human", "value": asked}, {"from": "gpt", "value": row.text("a")}]
    rest = {name: value for name, value in row.values.items() if name not in ("q", "a", "video_id")}
    return replace(row, values={**rest, "video": _instructed(row.text("video_id")), "conversations": turns})
