"""--dry-run: everything that can be checked without computing or writing anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidalign.common.errors import ConfigError
from vidalign.media.features import FeatureStore
from vidalign.registry import DATASETS, MODELS
from vidalign.runners.build import (
    build_processor,
    build_schedule,
    build_task,
    frozen_dtype,
    load_weights,
    require_fitting,
)
from vidalign.runners.optim import count_parameters, trained_parameters

if TYPE_CHECKING:
    from torch import nn

    from vidalign.common.sample import Sample
    from vidalign.config.schema import Experiment


def dry_run(experiment: Experiment) -> str:
    """Build the model on the meta device, read every annotation file, look at weights and features; returns a report.

    Raises the same errors as the run itself would.
    """
    build_task(experiment)
    model = meta_model(experiment)
    total = count_parameters(model.parameters())
    trained = count_parameters(trained_parameters(model).values())
    lines = [
        f"config      {experiment.path}: no mistake found",
        f"model       {experiment.model.arch}: {total:,} parameters, {trained:,} trained",
    ]
    if experiment.run.checkpoint is not None:
        lines.append(f"checkpoint  {experiment.run.checkpoint}: fits")
    for name, config in experiment.datasets.items():
        lines += _dataset_lines(experiment, name, config, model)
    if any(config.train for config in experiment.datasets.values()):
        run = experiment.run
        peak = build_schedule(experiment).keywords["peak"]
        step = f"{run.batch_size_per_gpu} samples x {run.accumulate} micro-batches per process"
        lines.append(f"training    {run.max_epochs} epochs, {step}, peak learning rate {peak:g}")
    return "\n".join([*lines, "no step was computed, no run folder was written"])


def meta_model(experiment: Experiment) -> nn.Module:
    """The model on the meta device: shapes without memory; weights are compared by their headers."""
    import torch

    cls = MODELS.load(experiment.model.arch)
    with torch.device("meta"):
        model = cls.from_config(
            experiment.model, dtype=frozen_dtype(experiment), cache_dir=Path(experiment.paths.cache)
        )
    if experiment.run.checkpoint is not None:
        load_weights(model, experiment.run.checkpoint)
    return model


def _dataset_lines(experiment: Experiment, name: str, config: Any, model: nn.Module) -> list[str]:
    """One line per split: how many samples, how many of their videos have features or files."""
    builder = DATASETS.load(name)(config)
    build_processor(experiment, model, builder.info, train=False)  # the tokenizer opens and fits the language model
    store = None
    if model.media_spec().kind == "features" and config.extract is None:
        if builder.feature_path is None:
            raise ConfigError(
                f"datasets.{name}.features: {type(model).__name__} reads features; name the file, or give `extract:` "
                "to make them from the videos"
            )
        store = FeatureStore.open(builder.feature_path)
    lines = []
    for split in dict.fromkeys(split for split in (config.train, config.eval) if split):
        samples = builder.samples(split)
        if split == config.eval:
            require_fitting(experiment, name, samples)
        lines.append(f"data        {name}/{split}: {len(samples):,} samples, {_media(samples, store, builder)}")
    return lines


def _media(samples: list[Sample], store: FeatureStore | None, builder: Any) -> str:
    from vidalign.media.load import resolve_video

    media = {sample.media.video_id: sample.media for sample in samples if sample.media is not None}
    if store is not None:
        there = sum(all(part in store for part in one.parts or (one.video_id,)) for one in media.values())
        return f"{there:,} of {len(media):,} videos have features in {store.path}"
    there = sum(resolve_video(builder.media_root, one).is_file() for one in media.values() if not one.parts)
    return f"{there:,} of {len(media):,} videos are in {builder.media_root}"
