"""Annotation files row by row: a bad row is a DataError that names file, row, field and value."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vidalign.common.errors import DataError, nearest
from vidalign.common.io import first_repeated

MAX_SECONDS = 1e7  # longer than any video


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

    def number(self, field: str) -> float:
        """A finite number, written as a number or as text."""
        return self.as_number(field, self.get(field))

    def as_number(self, field: str, value: Any) -> float:
        """A finite number from a value that belongs to `field`, e.g. an entry of a list of times."""
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise self.error(field, f"a number expected, found {value!r}") from None
        if not math.isfinite(number):
            raise self.error(field, "a finite number expected")
        return number

    def index_in(self, field: str, length: int) -> int | None:
        """A 0-based index below `length`; None where the field is missing, empty or NaN (hidden labels).

        "2.0" is 2: so a column of numbers is written when some of its cells are empty.
        """
        if not self.has(field) or self.values[field] != self.values[field]:
            return None
        try:
            number = float(str(self.values[field]))
        except ValueError:
            number = math.nan
        if not number.is_integer():
            raise self.error(field, f"a whole number from 0 to {length - 1} expected")
        if not 0 <= number < length:
            raise self.error(field, f"there are {length} options, so it must lie in 0..{length - 1}")
        return int(number)

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


def read_csv(path: Path, columns: Sequence[str], *, header: bool = True, delimiter: str = ",") -> Iterator[Row]:
    """Rows of a csv file; every cell stays text ("None", "NA" and "10" too). Without `header`, `columns` names them.

    A row with too few or too many cells is an error (pandas would fill or drop them without a word).
    """
    lines = _cells(path, delimiter)
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


def _cells(path: Path, delimiter: str) -> list[tuple[int, list[str]]]:
    """(number of its last line, cells) of every row that is not empty."""

    def parse(strict: bool) -> list[tuple[int, list[str]]]:
        with open(path, encoding="utf-8-sig", newline="") as file:
            # The sets that separate by tabs or blanks quote nothing; a quote there is part of a text.
            quoting = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
            reader = csv.reader(file, strict=strict, delimiter=delimiter, quoting=quoting)
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
        if packed := _packed(path):
            raise DataError(f"{path}: a {packed} archive; unpack it and give the file inside") from error
        raise DataError(f"{path}: not a text file in UTF-8 ({error}); save it as UTF-8") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not a JSON file: {error}") from error
    except RecursionError as error:
        raise DataError(f"{path}: not a file of annotations: its brackets are nested too deeply") from error
    except csv.Error as error:
        raise DataError(f"{path}: not a readable csv file: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def _packed(path: Path) -> str | None:
    """The kind of archive that a file is, by its first bytes."""
    with open(path, "rb") as file:
        start = file.read(4)
    kinds = {b"\x1f\x8b": "gzip", b"PK": "zip", b"BZh": "bzip2", b"\xfd7zX": "xz"}
    return next((kind for magic, kind in kinds.items() if start.startswith(magic)), None)


def read_words(path: Path) -> list[str]:
    """The words of a text file, e.g. ids or file names, one per line."""
    with told_as_data_error(path):
        return path.read_text(encoding="utf-8-sig").split()


def read_json(path: Path) -> Any:
    """A whole JSON file."""
    with told_as_data_error(path):
        return json.loads(path.read_text(encoding="utf-8-sig"))


def read_json_object(path: Path, what: str) -> dict[str, Any]:
    """A JSON object whose names are those of rows (videos, clips); none of them may stand there twice.

    what: the content as the error message describes it.
    """
    with told_as_data_error(path):
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=partial(_once, path))
    if not isinstance(content, dict):
        raise DataError(f"{path}: an object {what} expected, found {type(content).__name__}")
    return content


def _once(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    twice = first_repeated(name for name, _ in pairs)
    if twice is not None:
        raise DataError(f"{path}: {twice!r} stands there twice, and one of the two would be lost; remove one")
    return dict(pairs)


def read_json_names(path: Path) -> dict[str, str]:
    """A JSON object of texts, e.g. from video to file name."""
    names = read_json_object(path, "from video to file name")
    if not all(isinstance(name, str) for name in names.values()):
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


def sevila_row(row: Row, names: Mapping[str, Any]) -> Row:
    """A row of SeViLA's processed files under the raw ones' names; its video is a path without suffix.

    names: further fields made from the row. Question and options stay as processed.
    """
    video = row.text("video").rpartition("/")[2]
    return Row(row.file, row.place, row.index, {**row.values, "video": video, **names})


def _row(path: Path, place: str, index: int, values: Any) -> Row:
    if not isinstance(values, dict):
        raise DataError(f"{path}, {place}: an object with named fields expected, found {type(values).__name__}")
    return Row(path, place, index, values)
