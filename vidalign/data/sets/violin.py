"""VIOLIN: does a statement follow from a video with subtitles (specification benchmarks, section 13)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from vidalign.common.errors import DataError
from vidalign.common.sample import DatasetInfo, Sample, Subtitle
from vidalign.data.sets.base import AnnotationBuilder
from vidalign.data.sets.files import FoundFile
from vidalign.data.sets.rows import Row, read_json, read_json_object, read_jsonl
from vidalign.data.sets.subtitles import subtitle_lines

_SPLITS = {"train": "train", "validate": "val", "validation": "val", "val": "val", "test": "test"}
_USED = ("statement", "sub", "split", "clip")


class Violin(AnnotationBuilder):
    """`violin_annotation.json` {clip: {file, span, split, source, statement [[true, false] x 3], sub}}.

    Two Samples per pair of statements, `<clip>_<pair>_0` with label 1 (entailed) and `<clip>_<pair>_1` with label 0; a
    statement that stands alone has no label. LF-VILA's `[violin_]<split>.jsonl` is read too. Videos `<clip>.mp4`, cut
    out already: `span` in the row belongs to the whole episode and stays in meta.
    """

    info = DatasetInfo(
        name="violin", task="entailment", expected_counts={"train": 76122, "val": 9600, "test": 9600, "all": 95322}
    )
    expected_rows: ClassVar = {"all": 15887}
    patterns: ClassVar = ("violin_annotation.json", "violin_{split}.jsonl", "{split}.jsonl")

    @classmethod
    def parts(cls, found: FoundFile) -> list[str]:
        """The splits that the clips name."""
        content = read_json(found.path)
        clips = content.values() if isinstance(content, dict) else ()
        names = {str(one.get("split")) for one in clips if isinstance(one, dict)}
        known = [split for split in ("train", "val", "test") if any(_SPLITS.get(name) == split for name in names)]
        return known or ["all"]

    def rows_of(self, split: str) -> Iterable[Row]:
        """One row per clip (its name as "clip"), or the lines of LF-VILA's file. Split "all" is every clip."""
        path = self.given or self.file(*(pattern.format(split=split) for pattern in self.patterns))
        if path.suffix == ".jsonl":
            return read_jsonl(path)
        content = read_json_object(path, "from clip to its annotation")
        if not all(isinstance(one, dict) for one in content.values()):
            raise DataError(f"{path}: an object from clip to its annotation expected")
        rows = [
            Row(path, f"clip {name}", index, {**values, "clip": name})
            for index, (name, values) in enumerate(content.items())
        ]
        strange = [row for row in rows if row.has("split") and row.text("split") not in _SPLITS]
        self.left_out += [f"{row.place}: unknown split {row.text('split')!r}" for row in strange]
        return [row for row in rows if split == "all" or _SPLITS.get(str(row.values.get("split"))) == split]

    def read(self, split: str) -> Iterable[Sample]:
        """Every statement of every clip."""
        rows = list(self.rows_of(split))
        self.count_rows(split, len(rows), "clips")
        for row in rows:
            if "clip_id" in row.values:
                yield self.sample(row, split)
            else:
                yield from self._statements(row, split)

    def sample(self, row: Row, split: str) -> Sample:
        """A line of LF-VILA's file: clip_id, text_q, text_s, answer."""
        label = row.index_in("answer", 2)
        return self._made(
            row,
            split,
            f"{row.text('clip_id')}_{row.index}",
            clip=row.text("clip_id"),
            statement=row.text("text_q"),
            label=label,
            subtitles=subtitle_lines(row, "text_s") if row.has("text_s") else (),
            meta=row.rest(("clip_id", "text_q", "text_s", "answer")),
        )

    def _statements(self, row: Row, split: str) -> Iterable[Sample]:
        clip, pairs = row.text("clip"), row.get("statement")
        if not isinstance(pairs, list):
            raise row.error("statement", "a list of [entailed, contradicted] pairs expected")
        subtitles = self._subtitles(row)
        for number, pair in enumerate(pairs):
            labelled = isinstance(pair, list) and len(pair) == 2
            for place, statement in enumerate(pair if isinstance(pair, list) else [pair]):
                text = row.as_text("statement", statement)
                yield self._made(
                    row,
                    split,
                    f"{clip}_{number}_{place}",
                    clip=clip,
                    statement=text,
                    label=1 - place if labelled else None,
                    subtitles=subtitles,
                    meta=row.rest(_USED),
                )

    @staticmethod
    def _subtitles(row: Row) -> tuple[Subtitle, ...]:
        lines = []
        entries = row.values.get("sub") or []
        for entry in entries if isinstance(entries, list) else [entries]:
            if not isinstance(entry, list) or len(entry) < 3:
                raise row.error("sub", "a list of [text, start, end] expected")
            span = row.check_span("sub", entry[1], entry[2])
            lines.append(Subtitle(start=span[0] if span else 0.0, end=span[1] if span else 0.0, text=str(entry[0])))
        return tuple(lines)

    def _made(
        self,
        row: Row,
        split: str,
        native: str,
        *,
        clip: str,
        statement: str,
        label: int | None,
        subtitles: tuple[Subtitle, ...],
        meta: dict[str, Any],
    ) -> Sample:
        return Sample(
            uid=self.uid(split, native),
            dataset=self.info.name,
            split=split,
            task="entailment",
            media=self.media(clip, f"{clip}.mp4"),
            question=statement,
            label=None if label is None else float(label),
            subtitles=subtitles if self.config.subtitles else None,
            meta=meta,
        )
