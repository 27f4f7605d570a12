"""Rules that need more than one block: what training and evaluation ask of a config."""

from __future__ import annotations

from vidalign.config.schema import Experiment

PURPOSES = ("train", "evaluate")


def for_purpose(experiment: Experiment, purpose: str) -> list[tuple[str, str]]:
    """(dotted key, what is wrong and the cure) for "train" or "evaluate"."""
    assert purpose in PURPOSES, f"purpose {purpose!r} is not one of {PURPOSES}"
    return _unused(experiment) + (_train(experiment) if purpose == "train" else _evaluate(experiment))


def _unused(experiment: Experiment) -> list[tuple[str, str]]:
    """Datasets beside a used one that nothing would read: mostly an option with another dataset's name."""
    used = [name for name, one in experiment.datasets.items() if one.train or one.eval]
    text = "this dataset has neither a train nor an eval split, it would not be used. Give one or remove it."
    hint = f" Is {used[0]!r} meant?" if len(used) == 1 else ""
    return [(f"datasets.{name}", text + hint) for name in experiment.datasets if used and name not in used]


def _train(experiment: Experiment) -> list[tuple[str, str]]:
    found = []
    names = list(experiment.datasets)
    optimizer = experiment.run.optimizer
    if not any(one.train for one in experiment.datasets.values()):
        found.append((f"datasets.{names[0]}.train", "no dataset has a split to train on. Give one, e.g. train: train."))
    if optimizer.lr is None and optimizer.base_lr is None:
        text = "training needs a learning rate. Give run.optimizer.lr, or run.optimizer.base_lr (for 256 samples)."
        found.append(("run.optimizer.lr", text))
    if experiment.run.best_metric and not any(one.eval for one in experiment.datasets.values()):
        text = "nothing is evaluated, so there is no best metric. Give a dataset an `eval` split, or remove this."
        found.append(("run.best_metric", text))
    return found


def _evaluate(experiment: Experiment) -> list[tuple[str, str]]:
    if any(one.eval for one in experiment.datasets.values()):
        return []
    name = next(iter(experiment.datasets))
    return [(f"datasets.{name}.eval", "no dataset has a split to evaluate on. Give one, e.g. eval: val.")]
