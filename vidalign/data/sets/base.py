"""What every benchmark builder shares: which file a split is, one Sample per row, counts compared.

Nothing is dropped silently: a bad row is an error (rows.py), what a builder must leave out is named in `left_out`, row
numbers are compared with the published ones.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from vidalign.common.errors import DataError
from vidalign.common.sample import DatasetInfo, Media, Sample
from vidalign.data.sets.config import DatasetConfig
from vidalign.data.sets.files import FoundFile, in_folder, named_file, split_in_name
from vidalign.data.sets.rows import (
    Row,
    csv_columns,
    read_csv,
    read_json,
    read_json_names,
    read_json_rows,
    read_jsonl,
    told_as_data_error,
)

__all__ = [
    "AnnotationBuilder",
    "Builder",
    "Row",
    "csv_columns",
    "read_csv",
    "read_json",
    "read_json_names",
    "read_json_rows",
    "read_jsonl",
    "told_as_data_error",
]

_log = logging.getLogger(__name__)


class Builder(ABC):
    """What every benchmark builder is: `Builder(config).samples(split)`, and where its media and features lie.

    It declares `info`; `type_numbers` are the official loaders' numbers of the question types (-1 where none).
    """

    info: ClassVar[DatasetInfo]
    type_numbers: ClassVar[Mapping[str, int]] = {}

    def __init__(self, config: DatasetConfig) -> None:
        self.config = config
        self.root = Path(config.root)

    @property
    def media_root(self) -> Path:
        """Folder of the video files; Media.path is relative to it."""
        return self.root / (self.config.videos or "videos")

    @property
    def feature_path(self) -> Path | None:
        """The configured feature file or store, None when none is configured (FeatureStore.open checks it)."""
        return self.root / self.config.features if self.config.features else None

    @property
    def manifest_path(self) -> Path | None:
        """The configured manifest of `vidalign scan`, None when one is only looked for beside the videos."""
        return self.root / self.config.manifest if self.config.manifest else None

    @abstractmethod
    def samples(self, split: str) -> list[Sample]:
        """All Samples of a split; at most config.max_samples of them."""


class AnnotationBuilder(Builder):
    """Base of the builders that read annotation files, row by row.

    `patterns` are the names of the annotation files of a split, first choice first (files.py); `companions` are files
    that belong to them and name the same split. `split_names` maps a split to its name in the files where it is
    another (val -> dev), `split_words` lists unusual names of splits. A builder reads `split_file(split)` in `rows_of`
    and makes one Sample of a Row in `sample`. Whatever cannot become a Sample is named in `left_out`. `expected_rows`
    are published numbers of rows where a Sample unites several (DiDeMo: descriptions of a video), `expected_parts`
    those of a complete split's `videos`, of its question types and of its labels (`answer 0`).
    """

    patterns: ClassVar[tuple[str, ...]] = ()
    companions: ClassVar[tuple[str, ...]] = ()
    split_names: ClassVar[Mapping[str, str]] = {}
    split_words: ClassVar[tuple[str, ...]] = ()
    expected_rows: ClassVar[Mapping[str, int]] = {}
    expected_parts: ClassVar[Mapping[str, Mapping[str, int]]] = {}

    def __init__(self, config: DatasetConfig) -> None:
        super().__init__(config)
        self.given: Path | None = None  # the annotation file itself, whatever its name (`vidalign data FILE`)
        self.left_out: list[str] = []
        if not self.root.is_dir():
            raise DataError(
                f"datasets.{self.info.name}.root: folder {self.root} does not exist; put the annotation files there or "
                f"set datasets.{self.info.name}.root (or paths.data_root)"
            )

    @classmethod
    def find(cls, place: Path, split: str | None = None) -> list[FoundFile]:
        """The annotation files that `place` is or holds, one per split and settings. `split` restricts a folder to one
        split, and names the split of a file; without it the file's name is asked. A companion stands for the files
        beside it."""
        inverse = {name: own for own, name in cls.split_names.items()}
        known = (*cls.info.expected_counts, *inverse, *cls.split_words)
        split = inverse.get(split, split)
        if place.is_file():
            one = named_file((*cls.patterns, *cls.companions), place, known)
            if one is not None and one.pattern in cls.companions:
                return cls.find(one.root, split or inverse.get(one.split, one.split) or None)
            one = one or FoundFile(place, place.parent, split_in_name(place, cls.info.expected_counts))
            found = [replace(one, split=split)] if split else [one]
        else:
            found = in_folder(cls.patterns, place, known)
        renamed = [replace(one, split=inverse.get(one.split, one.split)) for one in found]
        whole = [replace(one, split=part) for one in renamed for part in ([one.split] if one.split else cls.parts(one))]
        if split and not cls.info.expected_counts:  # a file that knows no splits is the one that is asked for
            whole = [replace(one, split=split) if one.split == "all" else one for one in whole]
        first: dict[tuple[str, ...], FoundFile] = {}
        for one in whole:
            if split in (None, one.split):
                first.setdefault((one.split, *map(str, one.settings.items())), one)
        return list(first.values())

    @classmethod
    def parts(cls, found: FoundFile) -> list[str]:
        """The splits inside a file that holds several (a pattern without {split})."""
        return list(cls.info.expected_counts) or ["all"]

    def use(self, found: FoundFile) -> None:
        """Read this very file, whatever other files the root holds."""
        self.given = found.path

    def split_file(self, split: str) -> Path:
        """The annotation file of a split: the given one, else the first pattern that exists under the root."""
        if self.given is not None:
            return self.given
        fields = {"split": self.split_names.get(split, split), **vars(self.config)}
        return self.file(*(pattern.format(**fields) for pattern in self.patterns))

    @abstractmethod
    def rows_of(self, split: str) -> Iterable[Row]:
        """The annotation rows of a split, in file order."""

    @abstractmethod
    def sample(self, row: Row, split: str) -> Sample:
        """One Sample from one row."""

    def read(self, split: str) -> Iterable[Sample]:
        """All Samples of a split, unchecked; a builder whose rows are not Samples one to one overrides this."""
        return (self.sample(row, split) for row in self.rows_of(split))

    def expected_count(self, split: str) -> int | None:
        """Published number of Samples of a split, None where nobody counted."""
        return self.info.expected_counts.get(split)

    def samples(self, split: str) -> list[Sample]:
        """All Samples of a split in file order, checked; at most config.max_samples of them."""
        self.left_out = []
        samples = list(self.read(split))
        if not samples:
            raise DataError(f"{self.info.name}/{split}: the annotation file in {self.root} has no rows")
        self._check_unique(samples)
        self._compare(split, len(samples), self.expected_count(split), "rows")
        if len(samples) == self.expected_count(split):
            counts = _parts(samples)
            for part, expected in self.expected_parts.get(split, {}).items():
                self._compare(split, counts[part], expected, part if part == "videos" else f"rows of {part!r}")
        if self.left_out:
            shown = "; ".join(self.left_out[:3])
            _log.warning(f"{self.info.name}/{split}: {len(self.left_out)} rows left out: {shown}")
        return samples[: self.config.max_samples]

    def media(self, video_id: str, path: str | None, **values: Any) -> Media:
        """Media of one video: features where the config names a file of them, the video itself otherwise.

        values: further fields of Media; `kind` is that of the files.
        """
        kind = values.pop("kind", "video")
        return Media(kind="features" if self.config.features else kind, video_id=video_id, path=path, **values)

    def uid(self, split: str, native: object) -> str:
        """`<dataset>/<split>/<native id>`."""
        return f"{self.info.name}/{split}/{native}"

    def file(self, *names: str) -> Path:
        """The first of these files (relative to the root) that exists; none is a DataError naming all."""
        for name in names:
            if (self.root / name).is_file():
                return self.root / name
        raise DataError(f"{self.info.name}: none of {', '.join(names)} found in {self.root}")

    def _check_unique(self, samples: Sequence[Sample]) -> None:
        doubles = [uid for uid, count in Counter(sample.uid for sample in samples).items() if count > 1]
        if doubles:
            raise DataError(
                f"{self.info.name}: {len(doubles)} ids occur more than once, e.g. {doubles[0]}; every row needs its "
                "own id, remove or renumber the repeated rows"
            )

    def count_rows(self, split: str, count: int, what: str) -> None:
        """Compare a number of rows (named `what`) with `expected_rows`."""
        self._compare(split, count, self.expected_rows.get(split), what)

    def _compare(self, split: str, count: int, expected: int | None, what: str) -> None:
        if expected is None or count == expected:
            return
        text = f"{self.info.name}/{split}: {count} {what}, the published file has {expected}"
        if self.config.expect_counts:
            raise DataError(f"{text}; get the complete file or set expect_counts to false")
        _log.warning(text)


def _parts(samples: Sequence[Sample]) -> Counter[str]:
    counts = Counter(f"answer {sample.answer_idx}" for sample in samples)
    counts.update(sample.qtype for sample in samples if sample.qtype is not None)
    counts["videos"] = len({sample.media.video_id for sample in samples if sample.media})
    return counts
