"""May a run go on under a config that differs from the one it began with?"""

from __future__ import annotations

from omegaconf import OmegaConf

from vidalign.config.interpolate import leaves
from vidalign.config.load import resolved_yaml
from vidalign.config.schema import Experiment

# Where and how a run computes, not what: these may differ. Data that was moved is known by its rows (data/sampler.py).
FREE = frozenset(
    {"paths.cache", "paths.data_root"}
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
            "log_every_steps",
            "eval_batch_size_per_gpu",
            "activation_checkpointing",
            "save_full_model",
            "max_failed_share",
            "tensorboard",
            "best_metric",
        )
    }
)
FREE_OF_A_DATASET = ("root", "keep_decoded_mb", "expect_counts")
# What the numbers behind best.pt mean; a wrong name or address is found by the first evaluation only.
SCORING = ("run.best_metric", "task.judge")


def changed_keys(stored: str, experiment: Experiment) -> list[str]:
    """Dotted keys whose values in the YAML text `stored` (see resolved_yaml) and in `experiment` differ and matter."""
    return [key for key in _different(stored, experiment) if not _free(key) and not key.startswith(SCORING)]


def same_scores(stored: str, experiment: Experiment) -> bool:
    """Whether the best score so far can be compared with those to come."""
    return not any(key.startswith(SCORING) for key in _different(stored, experiment))


def _free(key: str) -> bool:
    block, _, name = key.partition(".")
    return key in FREE or (block == "datasets" and name.partition(".")[2] in FREE_OF_A_DATASET)


def _different(stored: str, experiment: Experiment) -> list[str]:
    before, now = (_values(text) for text in (stored, resolved_yaml(experiment)))
    keys = [*now, *(key for key in before if key not in now)]
    return [key for key in keys if before.get(key) != now.get(key)]


def _values(text: str) -> dict[str, object]:
    return dict(leaves(OmegaConf.to_container(OmegaConf.create(text))))
