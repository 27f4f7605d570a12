"""Sample: one row of any benchmark, whatever the task, as one immutable record.

Builders (vidalign/data/sets) make them from raw annotation files; processors, tasks and metrics read nothing else.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from vidalign.common.errors import DataError

TASKS = (
    "mc_qa",
    "open_qa",
    "caption",
    "retrieval",
    "classification",
    "regression",
    "moment",
    "dialogue",
    "textvideo",
    "entailment",
)
MEDIA_KINDS = ("video", "frames", "gif", "features", "text_frames", "clips")


@dataclass(frozen=True, kw_only=True)
class Media:
    """Where the pictures of a Sample are.

    `path` is relative to the dataset's root; `video_id` is the key in feature files. `parts` lists the video ids that
    follow one another when one Sample spans several files (LF-VILA clips, DramaQA shots).
    """

    kind: str
    video_id: str
    path: str | None = None
    fps: float | None = None
    duration_seconds: float | None = None
    parts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in MEDIA_KINDS:
            raise DataError(f"media kind {self.kind!r} is not one of {', '.join(MEDIA_KINDS)}")


@dataclass(frozen=True, kw_only=True)
class Subtitle:
    """One subtitle line; `start` and `end` in seconds on the stored file's clock."""

    start: float
    end: float
    text: str


@dataclass(frozen=True, kw_only=True)
class QA:
    """One of many questions about the same media (TextVID): options in file order, the open-ended `answer` where there
    is one. `problem` says why it cannot be used, None when it can: it then fails by name when it is drawn.
    """

    question: str = ""
    options: tuple[str, ...] = ()
    answer_idx: int | None = None
    answer: str | None = None
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One question, caption, pair ... of a benchmark.

    `uid` is `<dataset>/<split>/<native id>`, unique in its split. `span` is (start, end) in seconds on the stored file,
    None for the whole video. Texts are raw, options in file order, `answer_idx` 0-based and None where hidden.
    `text_frames`: the captions of each frame of a textual video; `qas`: its questions, of which a processor draws one
    per visit. `subtitles` is None when the benchmark has none or they were not asked for, () when there is no line.
    `saliency` rates every clip of `clip_len` seconds in meta["relevant_clip_ids"], one number per annotator.
    `meta` keeps the rest of the row and never reaches a model.
    """

    uid: str
    dataset: str
    split: str
    task: str
    media: Media | None = None
    span: tuple[float, float] | None = None
    question: str | None = None
    options: tuple[str, ...] = ()
    answer_idx: int | None = None
    answer: str | None = None
    answers: tuple[str, ...] = ()
    label: float | None = None
    qtype: str | None = None
    subtitles: tuple[Subtitle, ...] | None = None
    texts: tuple[str, ...] = ()
    text_spans: tuple[tuple[float, float], ...] = ()
    windows: tuple[tuple[float, float], ...] = ()
    saliency: tuple[tuple[int, ...], ...] = ()
    clip_len: float | None = None
    text_frames: tuple[tuple[str, ...], ...] = ()
    qas: tuple[QA, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise DataError(f"{self.uid}: task {self.task!r} is not one of {', '.join(TASKS)}")
        if self.answer_idx is not None and not 0 <= self.answer_idx < max(len(self.options), 1):
            raise DataError(
                f"{self.uid}: answer_idx {self.answer_idx} does not point into its {len(self.options)} options"
            )
        object.__setattr__(self, "meta", MappingProxyType(dict(self.meta)))

    def __reduce__(self) -> tuple[Any, ...]:
        # A mappingproxy cannot be pickled; DataLoader workers under spawn need Samples to travel.
        return _rebuild, (to_dict(self),)


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """What holds for every Sample of a benchmark, declared beside its builder.

    `groups` maps a group name to the question types it unites (NExT-QA: Causal -> CW, CH). `headline` names the metric
    printed first. `feature_fps` is the rate of the official feature files. `dialogue` names the rule of
    vidalign/text/dialogue.py by which subtitles become text, None for benchmarks without dialogue.
    `expected_counts` maps a split to its number of rows. `submission` names the rule of vidalign/scoring/submission.py
    by which the predictions of a split with hidden answers become the file that the benchmark's server takes.
    """

    name: str
    task: str
    headline: str = "accuracy"
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    feature_fps: float = 1.0
    dialogue: str | None = None
    expected_counts: Mapping[str, int] = field(default_factory=dict)
    submission: str | None = None


def native_id(uid: str) -> str:
    """The id that the benchmark's own files use: a uid without `<dataset>/<split>/`."""
    return uid.split("/", 2)[-1]


def footage(sample: Sample) -> Hashable:
    """What a Sample shows: its video and the part that is meant. Parts of one file are as different as two files."""
    return sample.uid if sample.media is None else (sample.media.video_id, sample.span)


def to_dict(sample: Sample) -> dict[str, Any]:
    """A plain dictionary of the fields that are set; `from_dict` reads it back."""
    values: dict[str, Any] = {}
    for f in dataclasses.fields(sample):
        value = getattr(sample, f.name)
        if f.name == "meta":
            value = dict(value)
        elif dataclasses.is_dataclass(value):
            value = dataclasses.asdict(value)
        elif f.name in ("subtitles", "qas") and value is not None:
            value = [dataclasses.asdict(line) for line in value]
        if f.name == "subtitles" or value not in (None, (), {}, []):
            values[f.name] = value
    return values


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value


def from_dict(values: Mapping[str, Any]) -> Sample:
    """Rebuild a Sample; unknown fields are an error, so that a newer file is not half read."""
    names = {f.name for f in dataclasses.fields(Sample)}
    surplus = set(values) - names
    if surplus:
        raise DataError(f"{values.get('uid', '?')}: unknown sample fields {sorted(surplus)}")
    known = {key: value if key == "meta" else _tuples(value) for key, value in values.items()}
    if known.get("media") is not None:
        known["media"] = Media(**{k: _tuples(v) for k, v in values["media"].items()})
    if known.get("subtitles") is not None:
        known["subtitles"] = tuple(Subtitle(**line) for line in values["subtitles"])
    if known.get("qas"):
        known["qas"] = tuple(QA(**{k: _tuples(v) for k, v in qa.items()}) for qa in values["qas"])
    return Sample(**known)


def _rebuild(values: dict[str, Any]) -> Sample:
    return from_dict(values)


def write_samples(path: Path, samples: Iterable[Sample]) -> None:
    """The unified JSON Lines file: one Sample per line, sorted keys."""
    from vidalign.common.io import atomic_write, json_line

    with atomic_write(path) as file:
        for sample in samples:
            file.write(json_line(to_dict(sample), sort_keys=True) + "\n")


def read_samples(path: Path) -> list[Sample]:
    """Read what `write_samples` wrote; DataError with the line for anything else."""
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as samples: {error}") from error
    samples = []
    for number, line in enumerate(lines, start=1):
        try:
            samples += [from_dict(json.loads(line))] if line else []
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise DataError(f"{path}:{number}: not a sample: {error}") from error
    return samples
