"""What every benchmark builder shares: reading annotation files row by row, with errors that name the place.

Nothing is dropped silently: a bad row is a DataError that names file, row, field, value and remedy; row numbers are
compared with the published ones.
"""

from __future__ import annotations

import csv
import json
import logging
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from vidalign.common.errors import DataError, nearest
from vidalign.common.sample import DatasetInfo, Media, Sample
from vidalign.data.sets.config import DatasetConfig

MAX_SECONDS = 1e7  # longer than any video

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """One annotation row and where it stands; the readers below turn its fields into checked values."""

    file: Path
    place: str
    index: int
    values: Mapping[str, Any]

    def error(self, field: str, problem: str) -> DataError:
        """A DataError that names this row."""
        shown = repr(self.values.get(field))
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        return DataError(f"{self.file}, {self.place}, field {field!r}: {problem} (value: {shown})")

    def has(self, field: str) -> bool:
        """True when the field is there and not empty."""
        return self.values.get(field) not in (None, "")

    def get(self, field: str) -> Any:
        """The value as it is; a missing field is an error."""
        if field not in self.values:
            near = nearest(field, map(str, self.values))
            hint = f"; did the file name it {near!r}?" if near else ""
            raise DataError(f"{self.file}, {self.place}: no field {field!r}{hint}")
        return self.values[field]

    def text(self, field: str) -> str:
        """Text as written; numbers of a JSON file become text, anything else is an error."""
        value = self.get(field)
        return self.as_text(field, value)

    def as_text(self, field: str, value: Any) -> str:
        """Text from a value that belongs to `field`, e.g. an entry of a list of options."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not isinstance(value, str) and not (number and math.isfinite(value)):
            raise self.error(field, f"text expected, found {value!r}; correct this row of the file")
        return str(value)

    def texts(self, fields: Iterable[str]) -> tuple[str, ...]:
        """Several text fields, e.g. the options a0..a4."""
        return tuple(self.text(field) for field in fields)

    def index_in(self, field: str, length: int) -> int | None:
        """A 0-based index below `length`; None where the field is missing or empty (hidden labels)."""
        if not self.has(field):
            return None
        try:
            number = int(str(self.values[field]))
        except ValueError:
            raise self.error(field, f"a whole number from 0 to {length - 1} expected") from None
        if not 0 <= number < length:
            raise self.error(field, f"there are {length} options, so it must lie in 0..{length - 1}")
        return number

    def span(self, start: str, end: str) -> tuple[float, float] | None:
        """Seconds from two fields; None (the whole video) when both are missing or NaN."""
        return self.check_span(start, self.values.get(start), self.values.get(end))

    def check_span(self, field: str, start: Any, end: Any) -> tuple[float, float] | None:
        """Seconds from two values that belong to `field`; None when both are missing or NaN."""
        try:
            first, last = (math.nan if value in (None, "") else float(value) for value in (start, end))
        except (TypeError, ValueError):
            raise self.error(field, f"seconds expected, found {start!r} and {end!r}") from None
        if math.isnan(first) and math.isnan(last):
            return None
        if not (abs(first) < MAX_SECONDS and abs(last) < MAX_SECONDS):  # also when one of them is NaN
            raise self.error(field, f"start and end in seconds expected, found {start!r} and {end!r}")
        if last < first:
            raise self.error(field, f"the clip ends ({last} s) before it starts ({first} s); swap them in the file")
        return first, last

    def rest(self, used: Iterable[str]) -> dict[str, Any]:
        """The fields not in `used`, and the row's number as "row" (0-based), for Sample.meta."""
        skip = set(used)
        return {"row": self.index, **{str(key): value for key, value in self.values.items() if key not in skip}}


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

    A builder says in `rows_of` which file a split is, and turns one Row into one Sample in `sample`.
    """

    def __init__(self, config: DatasetConfig) -> None:
        super().__init__(config)
        if not self.root.is_dir():
            raise DataError(
                f"datasets.{self.info.name}.root: folder {self.root} does not exist; put the annotation files there or "
                f"set datasets.{self.info.name}.root (or paths.data_root)"
            )

    @abstractmethod
    def rows_of(self, split: str) -> Iterable[Row]:
        """The annotation rows of a split, in file order."""

    @abstractmethod
    def sample(self, row: Row, split: str) -> Sample:
        """One Sample from one row."""

    def expected_count(self, split: str) -> int | None:
        """Published number of rows of a split, None where nobody counted."""
        return self.info.expected_counts.get(split)

    def samples(self, split: str) -> list[Sample]:
        """All Samples of a split in file order, checked; at most config.max_samples of them."""
        samples = [self.sample(row, split) for row in self.rows_of(split)]
        if not samples:
            raise DataError(f"{self.info.name}/{split}: the annotation file in {self.root} has no rows")
        self._check_unique(samples)
        self._check_count(split, len(samples))
        return samples[: self.config.max_samples]

    def media(self, video_id: str, path: str | None, *, parts: tuple[str, ...] = ()) -> Media:
        """Media of one video: features where the config names a file of them, the video itself otherwise."""
        kind = "features" if self.config.features else "video"
        return Media(kind=kind, video_id=video_id, path=path, parts=parts)

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

    def _check_count(self, split: str, count: int) -> None:
        expected = self.expected_count(split)
        if expected is None or count == expected:
            return
        text = f"{self.info.name}/{split}: {count} rows, the published file has {expected}"
        if self.config.expect_counts:
            raise DataError(f"{text}; get the complete file or set expect_counts to false")
        _log.warning(text)


def read_csv(path: Path, columns: Sequence[str], *, header: bool = True) -> Iterator[Row]:
    """Rows of a csv file; every cell stays text ("None", "NA" and "10" too). Without `header`, `columns` names them.

    A row with too few or too many cells is an error (pandas would fill or drop them without a word).
    """
    lines = _cells(path)
    if not lines:
        raise DataError(f"{path}: the file is empty")
    names = lines.pop(0)[1] if header else list(columns)
    missing = [name for name in columns if name not in names]
    if missing:
        near = nearest(missing[0], names)
        hint = f" (is {near!r} meant?)" if near else ""
        raise DataError(f"{path}: column(s) {', '.join(missing)} missing{hint}; found: {', '.join(names)}")
    for index, (number, cells) in enumerate(lines):
        if len(cells) != len(names):
            raise DataError(
                f"{path}, line {number}: {len(cells)} cells, but there are {len(names)} columns; texts with commas "
                f"need quotes (cells: {str(cells)[:80]})"
            )
        yield Row(path, f"line {number}", index, dict(zip(names, cells, strict=True)))


def csv_columns(path: Path) -> list[str]:
    """The column names of a csv file; none of an empty one."""
    with told_as_data_error(path), open(path, encoding="utf-8-sig", newline="") as file:
        return next(csv.reader(file), [])


def _cells(path: Path) -> list[tuple[int, list[str]]]:
    """(number of its last line, cells) of every row that is not empty."""

    def parse(strict: bool) -> list[tuple[int, list[str]]]:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=strict)
            return [(reader.line_num, cells) for cells in reader if cells]

    with told_as_data_error(path):
        try:
            return parse(True)
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise DataError(f"{path}: not a readable csv file: a quote is opened and never closed") from error
            # Quotes in odd places are read as pandas reads them.
            return parse(False)


@contextmanager
def told_as_data_error(path: Path) -> Iterator[None]:
    """What can go wrong while an annotation file is read as text, as one DataError."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a text file in UTF-8 ({error}); save it as UTF-8") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not a JSON file: {error}") from error
    except RecursionError as error:
        raise DataError(f"{path}: not a file of annotations: its brackets are nested too deeply") from error
    except csv.Error as error:
        raise DataError(f"{path}: not a readable csv file: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def read_json(path: Path) -> Any:
    """A whole JSON file."""
    with told_as_data_error(path):
        return json.loads(path.read_text(encoding="utf-8-sig"))


def read_json_names(path: Path) -> dict[str, str]:
    """A JSON object of texts, e.g. from video to file name."""
    names = read_json(path)
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise DataError(f"{path}: an object from video to file name expected")
    return names


def read_json_rows(path: Path) -> Iterator[Row]:
    """Rows of a JSON file that holds a list of objects."""
    items = read_json(path)
    if not isinstance(items, list):
        raise DataError(f"{path}: a list of objects expected, found {type(items).__name__}")
    for index, values in enumerate(items):
        yield _row(path, f"item {index + 1}", index, values)


def read_jsonl(path: Path) -> Iterator[Row]:
    """Rows of a JSON Lines file; empty lines are passed over."""
    index = 0
    with told_as_data_error(path), open(path, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                values = json.loads(line)
            except (json.JSONDecodeError, RecursionError) as error:
                raise DataError(f"{path}:{number}: not a line of JSON: {error}") from error
            yield _row(path, f"line {number}", index, values)
            index += 1


def _row(path: Path, place: str, index: int, values: Any) -> Row:
    if not isinstance(values, dict):
        raise DataError(f"{path}, {place}: an object with named fields expected, found {type(values).__name__}")
    return Row(path, place, index, values)
