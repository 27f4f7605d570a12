"""Whatever stands in an annotation file, reading it ends in samples or in one DataError that names the file."""

from __future__ import annotations

import copy
import csv
import io
import json
import logging
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processed_layouts import layouts
from stand_in_data import official_files

from vidalign.common.errors import DataError
from vidalign.common.sample import to_dict
from vidalign.runners.annotations import read_annotations

NAMES = {"MVBench": "mvbench", "video_panda/train": "valley"}
SETTINGS = {name: {"subtitles": True} for name in ("vlep", "tvqa", "violin")}
DROP = object()
VALUES = [None, "", [], {}, -1, "NaN", math.nan, True, "x", [None], [[]], [{}], {"a": None}, "1.5", [1], [[1, 2, 3]]]
CELLS = ["", "NaN", "x", "-1", "1e400", "1.5", "None"]
PER_FILE = 12
CASES = [
    pytest.param(NAMES.get(name, name), files, file, id=f"{kind}-{name}-{file}")
    for kind, folders in (("official", official_files()), ("processed", layouts()))
    for name, files in folders.items()
    for file in files
]


def places(value: Any, place: tuple = ()) -> Iterator[tuple]:
    """The ways into a JSON value; of a list the first two entries."""
    yield place
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(min(len(value), 2)):
            yield from places(value[key], (*place, key))


def changed(content: Any, place: tuple, value: Any) -> Any:
    """`content` with `value` at `place`, or without what stands there."""
    if not place:
        return content if value is DROP else value
    content = copy.deepcopy(content)
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    if value is DROP:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return content


def variants(text: str, file: str, draw: random.Random) -> Iterator[str]:
    if file.endswith(".csv"):
        delimiter = next((sign for sign in "\t," if sign in text), " ")
        rows = list(csv.reader(io.StringIO(text), delimiter=delimiter))
        for _ in range(PER_FILE):
            other, row = copy.deepcopy(rows), draw.randrange(len(rows))
            other[row][draw.randrange(len(rows[row]))] = draw.choice(CELLS)
            out = io.StringIO()
            csv.writer(out, delimiter=delimiter).writerows(other)
            yield out.getvalue()
        return
    rows = [json.loads(line) for line in text.splitlines()] if file.endswith(".jsonl") else json.loads(text)
    ways = [place for place in places(rows) if place or not file.endswith(".jsonl")]
    for _ in range(PER_FILE):
        content = changed(rows, draw.choice(ways), draw.choice([*VALUES, DROP]))
        yield "".join(json.dumps(one) + "\n" for one in content) if file.endswith(".jsonl") else json.dumps(content)


@pytest.fixture
def _quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize(("name", "files", "file"), CASES)
def test_a_changed_value_gives_samples_or_one_error(name: str, files: dict, file: str, tmp_path: Path) -> None:
    for other, content in files.items():
        (tmp_path / other).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / other).write_text(content if isinstance(content, str) else json.dumps(content))
    path = tmp_path / file
    for text in [path.read_text(), *variants(path.read_text(), file, random.Random(file))]:
        path.write_text(text)
        try:
            for read in read_annotations(tmp_path, dataset=name, settings=SETTINGS.get(name)):
                assert all(json.dumps(to_dict(sample)) for sample in read.samples)
        except DataError as error:
            assert str(tmp_path) in str(error) or name in str(error), text
