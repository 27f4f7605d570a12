"""From a checked Experiment to the parts of a run: model, task, data, optimizer. Registry names are looked up here."""

from __future__ import annotations

import bisect
import inspect
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidalign.checkpoint.fit import require_fit
from vidalign.checkpoint.load import model_state, read_checkpoint
from vidalign.common import dist
from vidalign.common.errors import CheckpointError, ConfigError
from vidalign.config.schema import ScheduleConfig
from vidalign.data.dataset import SampleDataset, repeated_share
from vidalign.data.group_sampler import GroupSampler, group_of
from vidalign.data.length_sampler import LengthGroupedSampler, signed_length
from vidalign.data.loader import Loader, make_loader
from vidalign.data.sampler import EvalSampler, TrainSampler, rows_key
from vidalign.media.feature_folder import FeatureFolder
from vidalign.media.features import FeatureStore
from vidalign.media.load import MediaLoader
from vidalign.media.manifest import Manifest, find_manifest
from vidalign.registry import DATASETS, JUDGES, MODELS, SCHEDULES, TASKS
from vidalign.runners.evaluate import EvalSet
from vidalign.runners.extract import features_for
from vidalign.runners.frame_store import stored_media
from vidalign.runners.optim import learning_rate, samples_per_step

if TYPE_CHECKING:
    import torch
    from torch import nn

    from vidalign.common.sample import DatasetInfo, Sample
    from vidalign.config.schema import Experiment
    from vidalign.media.spec import MediaSpec

_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def frozen_dtype(experiment: Experiment) -> torch.dtype | None:
    """The type of the frozen weights: run.precision, or None (the model decides) where the config writes one itself."""
    import torch

    if "model.llm.dtype" in experiment.sources:
        return None
    return getattr(torch, _DTYPES[experiment.run.precision])


def build_model(experiment: Experiment, *, device: torch.device) -> nn.Module:
    """The model on its device with base weights, then run.checkpoint on top. Equal on all processes (same seed)."""
    import torch

    torch.manual_seed(experiment.run.seed)
    cls = MODELS.load(experiment.model.arch)
    model = cls.from_config(experiment.model, dtype=frozen_dtype(experiment), cache_dir=Path(experiment.paths.cache))
    if hasattr(model, "set_loss_norm"):
        model.set_loss_norm(experiment.run.loss_norm)
    if experiment.run.checkpoint is not None:
        load_weights(model, experiment.run.checkpoint)
    return model.to(device)


def load_weights(model: nn.Module, path: Path | str) -> None:
    """A released or own checkpoint into the model, completely or CheckpointError naming the file."""
    content = read_checkpoint(path)
    restore(model, content, where=str(path))


def restore(model: nn.Module, content: dict[str, Any], *, where: str) -> None:
    """Load the content of a checkpoint: "model" (released names), and "frozen" where the whole model was saved."""
    try:
        model.load_state(model_state(content, where=where))
    except CheckpointError as error:
        raise CheckpointError(f"{where}: {error}") from error
    if "frozen" in content:
        wanted = {name: tuple(tensor.shape) for name, tensor in frozen_state(model).items()}
        require_fit(wanted, content["frozen"], where=f"{where}, frozen part")
        model.load_state_dict(content["frozen"], strict=False)


def frozen_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """Everything in the model's own state that does not train."""
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    return {name: tensor for name, tensor in model.state_dict().items() if name not in trained}


def build_task(experiment: Experiment) -> Any:
    """The task; ConfigError when the model lacks the ability that it needs."""
    entry = TASKS.entry(experiment.task.name)
    if entry.needs and entry.needs not in MODELS.entry(experiment.model.arch).abilities:
        able = [name for name in MODELS if entry.needs in MODELS.entry(name).abilities]
        raise ConfigError(
            f"task.name: {experiment.task.name} asks for {entry.needs}, which {experiment.model.arch} cannot do; "
            f"models that can: {', '.join(able) or '(none)'}"
        )
    task = TASKS.load(experiment.task.name)(experiment.task)
    judge = getattr(experiment.task, "judge", None)
    if judge is not None:
        task.judge = JUDGES.load(judge.name)(judge)
    return task


def build_processor(experiment: Experiment, model: nn.Module, info: DatasetInfo, *, train: bool) -> Any:
    """The model's processor for one benchmark, told what the task will ask where that changes its batches."""
    asked = {}
    if getattr(model, "batches_by_ability", False):
        asked["ability"] = TASKS.entry(experiment.task.name).needs
    return model.processor(info, train=train, seed=experiment.run.seed, **asked)


def require_fitting(experiment: Experiment, name: str, samples: Sequence[Sample]) -> None:
    """ConfigError when the task cannot score what this dataset holds (`accepts` of the task's class)."""
    accepts = getattr(TASKS.load(experiment.task.name), "accepts", None)
    odd = next((sample.task for sample in samples if accepts and sample.task not in accepts), None)
    if odd is not None:
        raise ConfigError(
            f"task.name: {experiment.task.name} scores samples of kind {' or '.join(accepts)}, but datasets.{name} "
            f"holds {odd}; choose another task or dataset"
        )


class JointDataset:
    """Several SampleDatasets one after the other, as one; batches may mix them.

    They belong to one model, so the first one's collate fits the items of all.
    """

    def __init__(self, parts: Sequence[SampleDataset]) -> None:
        self.parts = list(parts)
        self._ends = list(accumulate(len(part) for part in parts))
        self.collate = parts[0].collate

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, key: tuple[int, int]) -> Any:
        part, index = self._place(key[0])
        return part[index, key[1]]

    def where(self, index: int) -> str:
        """The sample's uid and the place of its media, for people."""
        part, index = self._place(index)
        return part.where(index)

    def _place(self, index: int) -> tuple[SampleDataset, int]:
        number = bisect.bisect_right(self._ends, index)
        return self.parts[number], index - (self._ends[number - 1] if number else 0)


class DataRoom:
    """Builders, media and processors of one run, made when a split is asked for."""

    def __init__(self, experiment: Experiment, model: nn.Module, *, device: torch.device) -> None:
        self.experiment, self.model, self.device = experiment, model, device

    def dataset(self, name: str, split: str, *, train: bool) -> tuple[SampleDataset, Any]:
        """(the split's dataset, its builder). Extracts features first where the config says so."""
        config = self.experiment.datasets[name]
        builder = DATASETS.load(name)(config)
        samples = builder.samples(split)
        if train:
            samples = repeated_share(samples, config.train_share)
        spec, features = self._stored(config, builder, samples, train=train)
        media = MediaLoader(
            spec,
            features=features,
            feature_fps=builder.info.feature_fps,
            media_root=builder.media_root,
            decoder=config.decoder,
            missing=config.missing_features,
            keep_decoded_mb=config.keep_decoded_mb,
            manifest=_manifest(builder) if spec.kind == "frames" else None,
            train=train,
            seed=self.experiment.run.seed,
        )
        processor = build_processor(self.experiment, self.model, builder.info, train=train)
        mixed = train and config.mix_options
        seed = self.experiment.run.seed if mixed else None
        return SampleDataset(samples, processor, media, option_seed=seed), builder

    def train_loader(self) -> Loader:
        """One loader over the training splits of all datasets."""
        run = self.experiment.run
        names = [name for name, config in self.experiment.datasets.items() if config.train]
        if not names:
            raise ConfigError("datasets: none has a `train` split, nothing to train on; use evaluate.py or name one")
        parts = [self.dataset(name, self.experiment.datasets[name].train, train=True)[0] for name in names]
        joint = parts[0] if len(parts) == 1 else JointDataset(parts)
        shared = {
            "batch_size": run.batch_size_per_gpu,
            "seed": run.seed,
            "rank": dist.rank(),
            "world": dist.world_size(),
        }
        samples = [sample for part in parts for sample in part.samples]
        if run.sampler == "length_grouped":
            sampler: TrainSampler = LengthGroupedSampler([signed_length(one) for one in samples], **shared)
        elif run.sampler == "grouped":
            sampler = GroupSampler([group_of(one) for one in samples], **shared)
        else:
            sampler = TrainSampler(len(joint), **shared)
        sampler.rows = rows_key(samples)
        return self._loader(joint, sampler)

    def eval_sets(self) -> list[EvalSet]:
        """One per dataset with an `eval` split, in the config's order."""
        run = self.experiment.run
        sets = []
        for name, config in self.experiment.datasets.items():
            if not config.eval:
                continue
            dataset, builder = self.dataset(name, config.eval, train=False)
            require_fitting(self.experiment, name, dataset.samples)
            batch_size = run.eval_batch_size_per_gpu or run.batch_size_per_gpu
            sampler = EvalSampler(len(dataset), batch_size=batch_size, rank=dist.rank(), world=dist.world_size())
            sets.append(EvalSet(name, config.eval, dataset.samples, builder.info, self._loader(dataset, sampler)))
        return sets

    def _loader(self, dataset: Any, sampler: Any) -> Loader:
        return make_loader(
            dataset,
            sampler,
            num_workers=self.experiment.run.num_workers,
            pin_memory=self.device.type == "cuda",
        )

    def _stored(self, config: Any, builder: Any, samples: Any, *, train: bool) -> tuple[MediaSpec, Any]:
        """What the model wants, and where rows of features come from."""
        spec = self.model.media_spec()
        if spec.kind == "frames":
            cache, manifest = Path(self.experiment.paths.cache), _manifest(builder)
            stored = stored_media(
                self.model, samples, builder.media_root, cache, train=train, decoder=config.decoder, manifest=manifest
            )
            if stored is not None:
                return stored
        return spec, self._features(config, builder, samples, spec)

    def _features(
        self, config: Any, builder: Any, samples: Any, spec: MediaSpec
    ) -> FeatureStore | FeatureFolder | None:
        if spec.kind != "features":
            return None
        path = builder.feature_path
        if config.extract is not None and path is None:
            path = features_for(
                config,
                samples,
                builder.media_root,
                Path(self.experiment.paths.cache),
                dim=spec.feature_dim,
                device=self.device,
                manifest=_manifest(builder),
            )
        return FeatureStore.open(path) if path is not None else None


def _manifest(builder: Any) -> Manifest | None:
    return find_manifest(builder.media_root, builder.manifest_path)


def build_schedule(experiment: Experiment, *, iterations_per_epoch: int = 1) -> Callable[[float], float]:
    """Position in epochs -> learning rate, for the number of processes there is.

    A schedule gets those of the values below that its signature names.
    """
    run = experiment.run
    samples = samples_per_step(
        batch_size_per_gpu=run.batch_size_per_gpu, accumulate=run.accumulate, world_size=dist.world_size()
    )
    schedule = SCHEDULES.load(run.schedule.name)
    values = {name: getattr(run.schedule, name) for name in ScheduleConfig.__dataclass_fields__}
    values |= {
        "peak": learning_rate(run.optimizer, samples_per_step=samples),
        "epochs": run.max_epochs,
        "iterations_per_epoch": iterations_per_epoch,
        "accumulate": run.accumulate,
    }
    wanted = inspect.signature(schedule).parameters
    return partial(schedule, **{name: value for name, value in values.items() if name in wanted})
