"""YAML + base files + --options -> a checked Experiment. Every mistake is told in one ConfigError.

    experiment = load("configs/bovila/star_train.yaml", ["run.max_steps=100"], plugins=[])
    check_files(experiment)        # data and weights are where the config says; `vidalign config` leaves this out

Rules between values live beside the values: a config dataclass may define `problems(self)` (called here) and
`missing_files(self)` (called by `check_files`); both return a list of (key relative to the block, sentence).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from vidalign.common.errors import ConfigError
from vidalign.config.check import Checker, told_by
from vidalign.config.interpolate import leaves
from vidalign.config.keys import plain
from vidalign.config.merge import gather
from vidalign.config.plugins import import_plugins
from vidalign.config.problems import Problem, raise_all
from vidalign.config.rules import for_purpose
from vidalign.config.schema import Experiment


def load(
    path: str | Path,
    overrides: list[str] | None = None,
    plugins: list[str] | None = None,
    *,
    purpose: str | None = None,
    allow_missing: bool = False,
) -> Experiment:
    """Read and check a config.

    overrides: "a.b=c" from the command line. plugins: modules or .py files imported first. purpose: "train" or
    "evaluate" also asks for what that needs (a split, a learning rate). allow_missing: required values that are not
    given stay "???" (for printing only). Raises ConfigError listing every mistake.
    """
    tree = gather(Path(path), overrides or [])
    tree.values["plugins"] = [*tree.values.get("plugins", []), *(plugins or [])]
    plugin_problems = import_plugins(tree.values["plugins"], tree.places.get("plugins"))
    checker = Checker(tree, allow_missing=allow_missing)
    experiment = checker.experiment()
    problems = [*tree.problems, *plugin_problems, *checker.problems]
    if experiment is not None and purpose is not None:
        problems += [Problem(tree.place(key), key, text) for key, text in for_purpose(experiment, purpose)]
    raise_all(problems, str(path))
    if experiment is None:
        raise ConfigError(f"{path}: the config could not be built")
    return experiment


def check_files(experiment: Experiment) -> None:
    """Raise one ConfigError that names every data folder, feature file, tokenizer or checkpoint that is not there."""
    problems = []
    for home, block in _blocks(experiment).items():
        for key, text in told_by(block, "missing_files", home):
            problems.append(Problem(place_of(experiment, key), key, text))
    raise_all(problems, experiment.path)


def place_of(experiment: Experiment, key: str) -> str:
    """Where a dotted key was given ("file:line", "--options"), or its nearest parent."""
    while key and key not in experiment.sources:
        key = key.rpartition(".")[0]
    return experiment.sources.get(key, experiment.path)


def values_with_sources(experiment: Experiment) -> list[tuple[str, Any, str]]:
    """(dotted key, value, source) of every value; the source is "default", "file:line" or "--options"."""
    return [(key, value, experiment.sources.get(key, "default")) for key, value in leaves(_plain(experiment))]


def resolved_yaml(experiment: Experiment) -> str:
    """The whole config with every default, as YAML that `load` reads back to an equal Experiment."""
    return OmegaConf.to_yaml(OmegaConf.create(_plain(experiment)))


def stored_value(text: str, key: str) -> Any:
    """One value (dotted key) of a config that `resolved_yaml` wrote, e.g. the one inside a checkpoint."""
    return OmegaConf.select(OmegaConf.create(text), key)


def _plain(experiment: Experiment) -> dict[str, Any]:
    names = ("model", "datasets", "task", "run", "paths", "plugins")
    return {name: plain(getattr(experiment, name)) for name in names}


def _blocks(experiment: Experiment) -> dict[str, Any]:
    blocks = {"model": experiment.model, "task": experiment.task, "run": experiment.run}
    return blocks | {f"datasets.{name}": one for name, one in experiment.datasets.items()}
