"""TGIF-QA: questions on animated GIFs in four kinds (specification benchmarks, section 10).

`action` and `transition` have five options, `frameqa` a free word, `count` a number.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from vidalign.common.options import option
from vidalign.common.sample import DatasetInfo, Media, Sample
from vidalign.data.sets.base import AnnotationBuilder
from vidalign.data.sets.config import DatasetConfig
from vidalign.data.sets.files import FoundFile
from vidalign.data.sets.open_qa import joined, violet_rows, violet_splits
from vidalign.data.sets.rows import Row, read_csv

KINDS = ("action", "transition", "frameqa", "count")
_OPTIONS = ("a1", "a2", "a3", "a4", "a5")
_FRAME_TYPES = {"0": "object", "1": "number", "2": "colour", "3": "location"}
_TEST_COUNTS = {"action": 2274, "transition": 6232, "frameqa": 13691, "count": 3554}


@dataclass
class TgifConfig(DatasetConfig):
    """DatasetConfig and which of the four kinds of questions."""

    kind: str = option("frameqa", "kind of questions", choices=KINDS)


class TgifQA(AnnotationBuilder):
    """`<Split>_<kind>_question.csv` (tab separated), Violet's `txt_tgif-<kind>.json`, `test_q.json` with `test_a.json`.

    GIFs under `gifs/`; where a converted `<name>.mp4` lies there it is taken, since decord refuses GIF files
    (`data_prep/tgif_qa.py --convert`). The csv's `description` holds the answer of frameqa and stays out altogether.
    """

    info = DatasetInfo(name="tgif_qa", task="open_qa", expected_counts={"train": 0, "test": 0, "total": 0})
    patterns: ClassVar = ("{split}_{kind}_question.csv", "txt_tgif-{kind}.json", "{split}_q.json")
    companions: ClassVar = ("{split}_a.json",)
    split_names: ClassVar = {"train": "Train", "test": "Test", "total": "Total"}

    def __init__(self, config: TgifConfig) -> None:
        super().__init__(config)
        kind = config.kind
        multiple = kind in ("action", "transition")
        counts = {"test": _TEST_COUNTS[kind]}
        headline = "mse" if kind == "count" else "accuracy"
        self.info = DatasetInfo(
            name="tgif_qa", task="mc_qa" if multiple else "open_qa", headline=headline, expected_counts=counts
        )

    @classmethod
    def parts(cls, found: FoundFile) -> list[str]:
        """The splits of a file of Violet's form."""
        return violet_splits(found.path)

    def rows_of(self, split: str) -> Iterable[Row]:
        """Rows under the csv's names."""
        if self.given is None:
            lower = self.root / f"{split}_q.json"
            names = [
                pattern.format(split=self.split_names.get(split, split), kind=self.config.kind)
                for pattern in self.patterns[:2]
            ]
            path = lower if lower.is_file() else self.file(*names, lower.name)
        else:
            path = self.given
        if path.suffix == ".csv":
            columns = ("gif_name", "question", "answer", "vid_id", "key")
            return read_csv(path, columns, delimiter="\t")
        if path.name.startswith("txt_"):
            return map(_from_violet, violet_rows(path, split))
        return joined(path, path.with_name(path.name.replace("_q.json", "_a.json")))

    def sample(self, row: Row, split: str) -> Sample:
        """uid `tgif_qa/<split>/<vid_id>` (ACTION777, FRAMEQA20072 ...), by the row number where there is none."""
        gif = row.text("gif_name" if "gif_name" in row.values else "video_name").removesuffix(".gif")
        native = next((row.text(name) for name in ("vid_id", "question_id") if row.has(name)), f"{split}{row.index}")
        values = self._answered(row)
        used = ("gif_name", "video_name", "question", "answer", "description", "vid_id", "question_id", *_OPTIONS)
        return Sample(
            uid=self.uid(split, native),
            dataset=self.info.name,
            split=split,
            task=self.info.task,
            media=self._gif(gif),
            question=row.text("question"),
            qtype=self._type(row),
            meta=row.rest(used),
            **values,
        )

    def _answered(self, row: Row) -> dict[str, Any]:
        if self.info.task == "mc_qa":
            options = row.texts(_OPTIONS)
            index = row.index_in("answer", len(options))
            return {"options": options, "answer_idx": index, "answer": None if index is None else options[index]}
        if not row.has("answer"):
            return {}
        text = row.text("answer")
        label = row.number("answer") if self.config.kind == "count" else None
        return {"answer": text, "answers": (text,), "label": label}

    def _type(self, row: Row) -> str:
        if self.config.kind != "frameqa" or "type" not in row.values:
            return self.config.kind
        code = row.text("type")
        if code not in _FRAME_TYPES:
            raise row.error("type", f"one of {', '.join(_FRAME_TYPES)} expected")
        return _FRAME_TYPES[code]

    def _gif(self, name: str) -> Media:
        return self.media(name, f"{name}.mp4", kind="gif")

    @property
    def media_root(self) -> Path:
        """`gifs/` unless the config names another folder; `mp4` of the judged protocol's package."""
        own = "mp4" if (self.root / "mp4").is_dir() and not (self.root / "gifs").is_dir() else "gifs"
        return self.root / (self.config.videos or own)


def _from_violet(row: Row) -> Row:
    values = {**row.values, "gif_name": row.text("video")}
    values |= {name: row.text(f"option_{place}") for place, name in enumerate(_OPTIONS) if "option_0" in row.values}
    drop = {f"option_{place}" for place in range(len(_OPTIONS))} | {"video"}
    return replace(row, values={key: value for key, value in values.items() if key not in drop})
