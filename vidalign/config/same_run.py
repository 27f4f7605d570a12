"""May a run go on under a config that differs from the one it began with?"""

from __future__ import annotations

from omegaconf import OmegaConf

from vidalign.config.interpolate import leaves
from vidalign.config.load import resolved_yaml
from vidalign.config.schema import Experiment

# Where and how a run computes, not what: these may differ.
FREE = frozenset(
    {"paths.cache"}
    | {
        f"run.{name}"
        for name in (
            "output_dir",
            "device",
            "num_workers",
            "resume",
            "save_every_steps",
            "save_every_minutes",
            "keep_last",
            "keep_every",
            "watchdog_seconds",
            "max_failed_share",
            "tensorboard",
            "best_metric",
        )
    }
)
# What the numbers behind best.pt mean; a wrong name or address is found by the first evaluation only.
SCORING = ("run.best_metric", "task.judge")


def changed_keys(stored: str, experiment: Experiment) -> list[str]:
    """Dotted keys whose values in the YAML text `stored` (see resolved_yaml) and in `experiment` differ and matter."""
    return [key for key in _different(stored, experiment) if key not in FREE and not key.startswith(SCORING)]


def same_scores(stored: str, experiment: Experiment) -> bool:
    """Whether the best score so far can be compared with those to come."""
    return not any(key.startswith(SCORING) for key in _different(stored, experiment))


def _different(stored: str, experiment: Experiment) -> list[str]:
    before, now = (_values(text) for text in (stored, resolved_yaml(experiment)))
    keys = [*now, *(key for key in before if key not in now)]
    return [key for key in keys if before.get(key) != now.get(key)]


def _values(text: str) -> dict[str, object]:
    return dict(leaves(OmegaConf.to_container(OmegaConf.create(text))))
