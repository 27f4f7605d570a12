"""Whatever a record holds comes back from its line; whatever a file holds, reading it ends in records or one error."""

import contextlib
import json
import math
from dataclasses import asdict, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vidalign.common.errors import DataError
from vidalign.common.io import append_jsonl, atomic_write, write_json
from vidalign.common.record import Record, finite_or_failed
from vidalign.common.sample import Media, Sample, Subtitle, read_samples, write_samples
from vidalign.media.manifest import Entry, read_manifest, write_manifest

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBER = st.floats(allow_nan=False)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
RECORDS = st.builds(
    Record,
    uid=TEXT,
    status=st.sampled_from(["ok", "failed"]),
    reason=st.none() | TEXT,
    answer_idx=st.none() | st.integers(0, 9),
    pred_idx=st.none() | st.integers(0, 9),
    scores=st.none() | st.lists(FINITE, max_size=5).map(tuple),
    uncertainty=st.none() | FINITE,
    pred_text=st.none() | TEXT,
    windows=st.none() | st.lists(st.tuples(FINITE, FINITE, FINITE), max_size=3).map(tuple),
    embedding_row=st.none() | st.integers(0, 10**12),
    kept_frames=st.none()
    | st.lists(st.fixed_dictionaries({"index": FINITE, "seconds": FINITE}), max_size=3).map(tuple),
)
SUBTITLES = st.lists(st.builds(Subtitle, start=NUMBER, end=NUMBER, text=TEXT), max_size=3).map(tuple)
SAMPLES = st.builds(
    Sample,
    uid=TEXT,
    dataset=TEXT,
    split=TEXT,
    task=st.just("mc_qa"),
    media=st.none()
    | st.builds(Media, kind=st.just("video"), video_id=TEXT, parts=st.lists(TEXT, max_size=2).map(tuple)),
    span=st.none() | st.tuples(NUMBER, NUMBER),
    question=st.none() | TEXT,
    options=st.lists(TEXT, min_size=5, max_size=5).map(tuple),
    answer_idx=st.none() | st.integers(0, 4),
    subtitles=st.none() | SUBTITLES,
    meta=st.dictionaries(TEXT, st.none() | st.integers() | TEXT, max_size=3),
)
BROKEN = {
    "scores": lambda bad: (0.5, bad),
    "uncertainty": lambda bad: bad,
    "pred_value": lambda bad: bad,
    "windows": lambda bad: ((0.0, 1.0, bad),),
    "saliency": lambda bad: (bad, 0.5),
}
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(record=RECORDS)
def test_a_record_is_one_line_and_comes_back(record):
    line = record.to_json()
    assert line.splitlines() == [line] and Record.from_json(line) == record


@quick
@given(record=RECORDS, bad=st.sampled_from([math.nan, math.inf, -math.inf]), at=st.sampled_from(sorted(BROKEN)))
def test_a_number_that_is_not_finite_fails_the_record(record, bad, at):
    broken = replace(record, **{at: BROKEN[at](bad)})
    with pytest.raises(ValueError, match="JSON"):
        broken.to_json()
    foreign = json.dumps({name: value for name, value in asdict(broken).items() if value is not None})
    with pytest.raises(ValueError, match="holds NaN or infinity"):
        Record.from_json(foreign)
    failed = finite_or_failed(broken)
    assert failed.status == "failed" and f"`{at}`" in failed.reason and Record.from_json(failed.to_json()) == failed
    assert finite_or_failed(record) is record


@quick
@given(records=st.lists(RECORDS, max_size=6))
def test_a_file_of_records_has_as_many_lines(records, tmp_path):
    """Also with line separators of other alphabets in the texts, which str.splitlines would cut at."""
    with atomic_write(tmp_path / "r.jsonl") as file:
        file.writelines(record.to_json() + "\n" for record in records)
    with open(tmp_path / "r.jsonl", encoding="utf-8") as file:
        assert [Record.from_json(line) for line in file] == records


@quick
@given(records=st.lists(RECORDS, min_size=1, max_size=4), data=st.data())
def test_a_torn_line_is_not_a_record(records, data):
    """Every part of a line that a killed process may leave is refused, not read as something else."""
    line = data.draw(st.sampled_from(records)).to_json()
    cut = data.draw(st.integers(0, len(line) - 1))
    with contextlib.suppress(json.JSONDecodeError):
        Record.from_json(line[:cut])
        raise AssertionError(f"{line[:cut]!r} was read as a record")


@quick
@given(
    rows=st.lists(st.dictionaries(TEXT, st.none() | st.integers() | TEXT, max_size=3), max_size=5),
    times=st.integers(1, 3),
)
def test_appended_rows_come_back(rows, times, tmp_path):
    path = tmp_path / "m.jsonl"
    path.unlink(missing_ok=True)
    for _ in range(times):
        append_jsonl(path, rows)
    with open(path, encoding="utf-8") as file:
        assert [json.loads(line) for line in file] == rows * times


@quick
@given(samples=st.lists(SAMPLES, max_size=4))
def test_samples_come_back(samples, tmp_path):
    write_samples(tmp_path / "s.jsonl", samples)
    assert read_samples(tmp_path / "s.jsonl") == samples


@quick
@given(content=st.binary(max_size=200) | st.text(max_size=80).map(lambda text: text.encode("utf-8", "replace")))
def test_any_file_is_samples_or_one_error(content, tmp_path):
    (tmp_path / "s.jsonl").write_bytes(content)
    with contextlib.suppress(DataError):
        read_samples(tmp_path / "s.jsonl")
    (tmp_path / "m.jsonl").write_bytes(b'{"format": 1, "root": "."}\n' + content)
    with contextlib.suppress(DataError):
        read_manifest(tmp_path / "m.jsonl")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["uid", "task", "media", "x"]), inner),
    max_leaves=6,
)


@quick
@given(rows=st.lists(JSON, max_size=3))
def test_any_json_is_samples_or_one_error(rows, tmp_path):
    (tmp_path / "s.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with contextlib.suppress(DataError):
        read_samples(tmp_path / "s.jsonl")


ENTRIES = st.builds(
    Entry,
    file=TEXT,
    size=st.integers(0, 2**60),
    mtime_ns=st.integers(0, 2**62),
    decoder=st.just("decord 0.6.0"),
    reason=st.none() | TEXT,
    fps=st.none() | NUMBER.filter(math.isfinite),
    warnings=st.lists(TEXT, max_size=2).map(tuple),
)


@quick
@given(entries=st.lists(ENTRIES, max_size=5))
def test_a_manifest_comes_back(entries, tmp_path):
    by_name = {entry.file: entry for entry in entries}
    write_manifest(tmp_path / "m.jsonl", tmp_path, by_name, decoder="decord 0.6.0")
    assert read_manifest(tmp_path / "m.jsonl").entries == by_name


def test_reports_hold_no_number_that_json_has_not(tmp_path):
    content = {"mse": math.inf, "parts": [math.nan, (1.5, -math.inf)], "n": 3}
    write_json(tmp_path / "metrics.json", content)
    append_jsonl(tmp_path / "metrics.jsonl", [content])
    for name in ("metrics.json", "metrics.jsonl"):
        found = json.loads((tmp_path / name).read_text(), parse_constant=pytest.fail)
        assert found == {"mse": None, "parts": [None, [1.5, None]], "n": 3}
