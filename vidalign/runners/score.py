"""`vidalign score`: predictions and annotation files -> metrics, without a model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidalign.common.errors import ConfigError, DataError
from vidalign.common.io import finite
from vidalign.common.record import Record
from vidalign.common.sample import Sample, native_id
from vidalign.runners.annotations import ReadSplit, dataset_name, read_annotations
from vidalign.runners.score_metrics import Predictions, metrics_of, one_task
from vidalign.scoring.official import FORMATS, Format, read_predictions
from vidalign.scoring.submission import write_submission

if TYPE_CHECKING:
    from vidalign.scoring.judge import Judge


@dataclass(frozen=True)
class Score:
    """What `vidalign score` found: our metrics (fractions), and the official numbers where there is an evaluator."""

    dataset: str
    split: str
    form: str
    headline: str
    metrics: Mapping[str, Any]
    official: Mapping[str, Any] | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; a number that is not finite becomes null."""
        values = {
            "dataset": self.dataset,
            "split": self.split,
            "predictions": self.form,
            "headline": self.headline,
            "metrics": self.metrics,
            "official": self.official,
        }
        return finite(values)


def score(
    predictions: Path | str,
    *,
    dataset: str,
    annotations: Path | str,
    split: str | None = None,
    settings: Mapping[str, Any] | None = None,
    submission: Path | str | None = None,
    allow_missing: bool = False,
    judge: Judge | None = None,
) -> Score:
    """Score a file of our records or an official prediction file.

    submission: a folder; the file that the benchmark's server takes is written into it. allow_missing: a sample without
    a prediction counts as failed, and so as wrong; otherwise it is a DataError. judge: of open-ended answers.
    The split of a folder is the one that the records name, or the one whose ids fit; DataError where none does.
    """
    name, path = dataset_name(dataset), Path(predictions)
    wanted = split or _split_of_records(path)
    if wanted and split is None and Path(annotations).is_file():
        wanted = None  # the file is the split
    problems = []
    for read in read_annotations(annotations, dataset=name, split=wanted, settings=settings):
        samples = read.samples
        try:
            task = one_task(read)
            records, form = read_predictions(path, samples, dataset=name)
            records = _complete(_renamed(records, samples), samples, allow_missing=allow_missing)
            found = _scored(name, Predictions(path, form, task, records), read, judge)
            if submission is None:
                _require_scored(found, read)
        except DataError as error:
            problems.append((read.found.split, error))
            continue
        if submission is not None:
            _submit(read, records, Path(submission))
        return found
    if len(problems) == 1:
        raise problems[0][1]
    told = "; ".join(f"{name}: {error}" for name, error in problems)
    raise DataError(f"the predictions fit none of the splits; name one by --split. {told}")


def table(result: Score) -> str:
    """For people: the headline with its interval, then every number."""
    metrics = result.metrics
    lines = [f"{result.dataset}/{result.split}, {result.form} predictions"]
    head = metrics.get(result.headline)
    if isinstance(head, float):
        low, high = (metrics.get(f"{result.headline}_{end}") for end in ("low", "high"))
        interval = f" (95 %: {low:.4f} to {high:.4f})" if isinstance(low, float) and isinstance(high, float) else ""
        lines.append(f"{result.headline} = {head:.4f}{interval}, n = {metrics.get('scored', metrics.get('samples'))}")
    lines += [
        f"  {key:<28} {value:.4f}" if isinstance(value, float) else f"  {key:<28} {value}"
        for key, value in metrics.items()
    ]
    if result.official is not None:
        lines += ["official evaluator:", json.dumps(finite(result.official), indent=1, ensure_ascii=False)]
    return "\n".join(lines)


def _complete(records: list[Record], samples: Sequence[Sample], *, allow_missing: bool) -> list[Record]:
    """The records, and with `allow_missing` a failed one for every sample that has none."""
    there = {record.uid for record in records}
    missing = [sample.uid for sample in samples if sample.uid not in there]
    if len(missing) == len(samples):
        raise DataError(f"no prediction is for one of the {len(samples)} samples, e.g. {missing[0]}")
    if missing and not allow_missing:
        raise DataError(
            f"{len(missing)} of {len(samples)} samples have no prediction ({', '.join(missing[:3])} ...); complete the "
            "file, or count them as wrong: --allow-missing"
        )
    return [*records, *(Record(uid=uid, status="failed", reason="no prediction in the file") for uid in missing)]


def _scored(name: str, given: Predictions, read: ReadSplit, judge: Judge | None) -> Score:
    metrics, headline = metrics_of(given, read.samples, read.builder.info, judge)
    numbers = FORMATS.get(name, Format()).numbers
    labelled = metrics.get("scored", len(read.samples))
    official = numbers(given.records, read.samples) if numbers and labelled and not given.in_classes else None
    return Score(name, read.found.split, given.form, headline, metrics, official)


def _require_scored(found: Score, read: ReadSplit) -> None:
    if found.metrics.get("scored") == 0:
        server = " or write the file for the benchmark's server: --submission FOLDER"
        raise DataError(
            f"{read.found.path}: none of the {len(read.samples)} samples has a known answer, so nothing can be scored; "
            f"give annotations with answers{server if read.builder.info.submission else ''}"
        )


def _submit(read: ReadSplit, records: Sequence[Record], folder: Path) -> None:
    rule = read.builder.info.submission
    if rule is None:
        raise ConfigError(f"{read.builder.info.name} has no server that takes predictions")
    write_submission(rule, records, read.samples, folder=folder, split=read.found.split)


def _split_of_records(path: Path) -> str | None:
    """The split that the first record's uid names; None for other files."""
    try:
        with open(path, encoding="utf-8") as file:
            uid = json.loads(file.readline())["uid"]
        return uid.split("/")[1]
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, UnicodeDecodeError):
        return None


def _renamed(records: list[Record], samples: Sequence[Sample]) -> list[Record]:
    """Records of the same rows read under another split name (a file given by itself) get the samples' uids."""
    wanted = {native_id(sample.uid): sample.uid for sample in samples}
    known = {sample.uid for sample in samples}
    if all(record.uid in known for record in records):
        return records
    natives = [native_id(record.uid) for record in records]
    if not all(native in wanted for native in natives):
        return records
    return [replace(record, uid=wanted[native]) for record, native in zip(records, natives, strict=True)]
