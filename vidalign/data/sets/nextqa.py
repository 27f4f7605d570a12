"""NExT-QA, multiple choice and open-ended (specification benchmarks, section 1), and `clips` in the same layout."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from glob import escape
from typing import Any, ClassVar

from vidalign.common.errors import DataError
from vidalign.common.sample import DatasetInfo, Media, Sample
from vidalign.data.sets.base import AnnotationBuilder
from vidalign.data.sets.rows import Row, read_csv, read_json_names, read_json_object, read_json_rows

_OPTIONS = ("a0", "a1", "a2", "a3", "a4")
_COLUMNS = ("video", "question", "answer", "qid", "type", *_OPTIONS)
_OPEN_COLUMNS = ("video", "question", "answer", "qid", "type")
_GROUPS = {"Causal": ("CW", "CH"), "Temporal": ("TN", "TC", "TP"), "Descriptive": ("DC", "DL", "DO", "DB")}


def _types(*counts: int) -> dict[str, int]:
    return dict(zip(("CW", "CH", "TN", "TC", "TP", "DC", "DL", "DO"), counts, strict=True))


class NextQA(AnnotationBuilder):
    """`<split>.csv` (or the processed `<split>.json` of SeViLA / ViLA), `map_vid_vidorID.json`."""

    info = DatasetInfo(
        name="nextqa",
        task="mc_qa",
        groups=_GROUPS,
        expected_counts={"train": 34132, "val": 4996, "test": 8564},
    )
    expected_parts: ClassVar = {
        "val": _types(1924, 683, 895, 663, 54, 177, 295, 305) | {"videos": 570},
        "test": _types(3329, 1173, 1399, 1165, 93, 322, 483, 600) | {"videos": 1000},
    }
    patterns: ClassVar = ("{split}.csv", "{split}.json")
    companions: ClassVar = ("map_vid_vidorID.json",)
    type_numbers: ClassVar = {"CH": 1, "CW": 2, "TN": 3, "TC": 4, "TP": 5, "DL": 6, "DC": 7, "DO": 8}

    def rows_of(self, split: str) -> Iterable[Row]:
        """csv rows; where there is only the processed json, its texts are turned back into the raw ones."""
        path = self.split_file(split)
        return read_csv(path, _COLUMNS) if path.suffix == ".csv" else map(_raw, read_json_rows(path))

    def sample(self, row: Row, split: str) -> Sample:
        """uid `nextqa/<split>/<video>_<qid>`; the whole video."""
        # The release has five options in every row; a file with fewer (`shapes`) leaves the last columns empty.
        last = max(place for place, name in enumerate(_OPTIONS) if place < 2 or row.has(name))
        options = row.texts(_OPTIONS[: last + 1])
        answer = row.index_in("answer", len(options))
        video = row.text("video")
        return Sample(
            uid=self.uid(split, f"{video}_{row.text('qid')}"),
            dataset=self.info.name,
            split=split,
            task="mc_qa",
            media=self.video(row, video),
            question=row.text("question"),
            options=options,
            answer_idx=answer,
            answer=None if answer is None else options[answer],
            qtype=row.text("type"),
            meta=row.rest(_COLUMNS),
        )

    def video(self, row: Row, video: str) -> Media:
        """`<folder>/<video>.mp4` by the map of VidOR folders, `<video>.mp4` without a map."""
        if "path" in row.values:
            return self.media(video, row.text("path"))
        if self._map and video not in self._map and not self.config.features:
            raise row.error("video", f"not in {self.root / 'map_vid_vidorID.json'}; use the map of the same release")
        return self.media(video, f"{self._map.get(video, video)}.mp4")

    @cached_property
    def _map(self) -> dict[str, str]:
        path = self.root / "map_vid_vidorID.json"
        return read_json_names(path) if path.is_file() else {}


def _raw(row: Row) -> Row:
    """Undo the processing of SeViLA / ViLA: qid `<type>_<video>_<n>`, "?" and "." appended, video as a path."""
    parts = row.text("qid").rsplit("_", 2)
    if len(parts) != 3:
        raise row.error("qid", "<type>_<video>_<number> expected")
    values: dict[str, Any] = dict(row.values)
    values |= {"type": parts[0], "video": parts[1], "qid": parts[2], "path": f"{row.text('video')}.mp4"}
    values |= {"question": row.text("question").removesuffix("?")}
    values |= {name: row.text(name).removesuffix(".") for name in _OPTIONS}
    return Row(row.file, row.place, row.index, values)


class NextOE(NextQA):
    """Open-ended NExT-QA: `<split>.csv` without options; a second reference in `add_reference_answer_<split>.json`.

    DB (yes or no) is the ninth type. Scored by WUPS (scoring/wups.py).
    """

    info = DatasetInfo(
        name="nextqa_oe",
        task="open_qa",
        groups=_GROUPS,
        expected_counts={"train": 37523, "val": 5343, "test": 9178},
    )
    expected_parts: ClassVar = {}
    patterns: ClassVar = ("{split}.csv",)
    companions: ClassVar = ("map_vid_vidorID.json", "add_reference_answer_{split}.json")

    def rows_of(self, split: str) -> Iterable[Row]:
        """csv rows."""
        return read_csv(self.split_file(split), _OPEN_COLUMNS)

    def sample(self, row: Row, split: str) -> Sample:
        """uid `nextqa_oe/<split>/<video>_<qid>`; answers holds the row's own first."""
        video, qid, answer = row.text("video"), row.text("qid"), row.text("answer")
        more = self._more(split).get(video, {}).get(qid)
        return Sample(
            uid=self.uid(split, f"{video}_{qid}"),
            dataset=self.info.name,
            split=split,
            task="open_qa",
            media=self.video(row, video),
            question=row.text("question"),
            answer=answer,
            answers=(answer,) if more is None else (answer, row.as_text("answer", more)),
            qtype=row.text("type"),
            meta=row.rest(_OPEN_COLUMNS),
        )

    def read(self, split: str) -> Iterable[Sample]:
        """All questions; second references without a question are named."""
        samples = list(super().read(split))
        asked = {sample.uid for sample in samples}
        given = [f"{video}_{qid}" for video, answers in self._more(split).items() for qid in answers]
        lost = [native for native in given if self.uid(split, native) not in asked]
        self.left_out += [f"add_reference_answer_{split}.json: {native} is no question" for native in lost]
        return samples

    def _more(self, split: str) -> dict[str, dict[str, str]]:
        if split not in self._references:
            path = self.root / f"add_reference_answer_{split}.json"
            found = read_json_object(path, "{video: {qid: answer}}") if path.is_file() else {}
            if not all(isinstance(one, dict) for one in found.values()):
                raise DataError(f"{path}: an object {{video: {{qid: answer}}}} expected")
            self._references[split] = found
        return self._references[split]

    @cached_property
    def _references(self) -> dict[str, dict[str, dict[str, str]]]:
        return {}


class Clips(NextQA):
    """`clips/<split>.csv`, `clips/map_vid_file.json`, `videos/`, all under the root."""

    info = DatasetInfo(name="clips", task="mc_qa", groups=_GROUPS)
    patterns: ClassVar = ("clips/{split}.csv",)

    def rows_of(self, split: str) -> Iterable[Row]:
        """csv rows in NExT-QA's columns."""
        return read_csv(self.split_file(split), _COLUMNS)

    def video(self, row: Row, video: str) -> Media:
        """The file named by the map; a video outside the map is looked for by its stem.

        A file that does not exist is no error here: its questions count as wrong, with the reason in the record.
        """
        name = self._files.get(video)
        if name is None:
            found = sorted(self.media_root.glob(f"{escape(video)}.*")) if self.media_root.is_dir() else []
            name = found[0].name if found else f"{video}.mp4"
        return self.media(video, name)

    @cached_property
    def _files(self) -> dict[str, str]:
        path = self.root / "clips" / "map_vid_file.json"
        return read_json_names(path) if path.is_file() else {}
