"""Metrics of a predictions file: those of the registered task that makes such records, as in a run's metrics.json."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidalign.common.errors import ConfigError, DataError
from vidalign.common.record import Record
from vidalign.common.sample import DatasetInfo, Sample
from vidalign.data.sets.own_data import HEADLINES
from vidalign.registry import TASKS
from vidalign.runners.annotations import ReadSplit
from vidalign.scoring.exact_match import count_metrics, exact_match_metrics
from vidalign.scoring.mvbench import either_metrics
from vidalign.scoring.record_checks import answered_in_classes

if TYPE_CHECKING:
    from vidalign.scoring.judge import Judge

# Sample.task -> the registered task that has its metrics. Retrieval's are computed from embeddings.
_TASKS = {
    "mc_qa": "multiple_choice",
    "open_qa": "open_ended",
    "caption": "captioning",
    "classification": "classification",
    "entailment": "classification",
    "regression": "regression",
    "moment": "moments",
    "retrieval": "retrieval",
}


@dataclass(frozen=True)
class Predictions:
    """The records of a file, its form ("records" or "official"), and the task of their samples."""

    path: Path
    form: str
    task: str
    records: Sequence[Record]

    @property
    def in_classes(self) -> bool:
        """Whether open questions are answered by a class instead of in words."""
        return self.task == "open_qa" and answered_in_classes(self.records)


def one_task(read: ReadSplit) -> str:
    """The task of the samples: their own, which is not always the builder's (rows of own_data may name one)."""
    uids = defaultdict(list)
    for sample in read.samples:
        uids[sample.task].append(sample.uid)
    if len(uids) > 1:
        told = ", ".join(f"{len(own)} of {task} (e.g. {own[0]})" for task, own in uids.items())
        raise DataError(
            f"{read.found.path}: samples of several tasks, {told}. Put the rows of each into a file of their own; rows "
            "that name no task get that of --options task=NAME"
        )
    return next(iter(uids))


def metrics_of(
    given: Predictions, samples: Sequence[Sample], info: DatasetInfo, judge: Judge | None = None
) -> tuple[Mapping[str, Any], str]:
    """Metrics, and the name of the one to print first. judge: of open-ended answers."""
    name = "classification" if given.in_classes else _TASKS.get(given.task)
    if name is None:
        raise ConfigError(f"predictions of task {given.task!r} cannot be scored without a model")
    task = TASKS.load(name)(TASKS.config(name)())
    if judge is not None:
        if not hasattr(task, "judge"):
            raise ConfigError(
                f"--judge {judge.name}: judges read open-ended answers, {given.path} has {given.task} by {name}; leave "
                "it out"
            )
        task.judge = judge
    if name == "retrieval":
        metrics = _retrieval(given, samples)
    else:
        metrics = _with_own_rules(task.metrics(given.records, samples, info), given, samples, info)
    headlines = (info.headline, getattr(task, "headline", None), HEADLINES.get(given.task))
    return metrics, next((one for one in headlines if one in metrics), info.headline)


def _with_own_rules(
    metrics: Mapping[str, Any], given: Predictions, samples: Sequence[Sample], info: DatasetInfo
) -> Mapping[str, Any]:
    """The task's metrics, and what a benchmark's own protocol counts besides, or in their place."""
    if info.name == "mvbench":
        return either_metrics(given.records, samples, info)
    if info.name == "tgif_qa" and info.headline == "mse":
        return {**metrics, **count_metrics(given.records, samples, info)}
    if given.task == "open_qa" and given.form == "official":  # published: the same text, without normalisation
        return {**exact_match_metrics(given.records, samples, info, taken=metrics), **metrics}
    return metrics


def _retrieval(given: Predictions, samples: Sequence[Sample]) -> Mapping[str, Any]:
    """From the embeddings that the evaluation left beside its records."""
    from vidalign.scoring.embeddings import read_embeddings
    from vidalign.scoring.retrieval import retrieval_metrics

    tables = read_embeddings(given.path.with_suffix(".embeddings.npz"), samples)
    return retrieval_metrics(tables, given.records, samples)
