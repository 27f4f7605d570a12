"""The blocks of a config file as dataclasses: `model`, `datasets`, `task`, `run`, `paths`.

Model, dataset and task blocks have their own dataclass, found through the registry; `run` and `paths` are here. The
`metadata` of a field is its help line, shown by `vidalign explain` and in error messages.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from vidalign.common.options import option
from vidalign.common.paths import missing


@dataclass
class PathsConfig:
    """Folders that differ from machine to machine; usable in other values as ${paths.data_root}."""

    data_root: str = option("data", "folder that holds one folder per benchmark", path=True)
    cache: str = option("cache", "folder for everything that can be made again (features, tiny tokenizers)", path=True)


@dataclass
class OptimizerConfig:
    """AdamW on the trained parameters."""

    name: str = option("adamw", "optimizer", choices=("adamw", "sgd"))
    lr: float | None = option(None, "peak learning rate; overrides base_lr", low=0.0)
    base_lr: float | None = option(None, "peak rate for 256 samples a step: lr = base_lr * samples / 256", low=0.0)
    betas: list[float] = option([0.9, 0.999], "AdamW decay rates")
    eps: float = option(1e-8, "AdamW epsilon", low=0.0)
    weight_decay: float = option(0.0, "decoupled weight decay", low=0.0)
    no_decay: str = option(
        "none",
        "what is not decayed; lavis: vectors, and names that hold bias, ln or bn (ViLA, SeViLA); lf_vila: by name",
        choices=("none", "lavis", "lf_vila"),
    )


@dataclass
class ScheduleConfig:
    """Learning rate over time; epochs may be fractions."""

    name: str = option("constant", "learning rate rule, see `vidalign list schedules`", registry="schedule")
    warmup_epochs: float = option(0.0, "linear warm-up from 0 over so many epochs", low=0.0)
    min_lr: float = option(0.0, "rate at the end", low=0.0)
    warmup_steps: int = option(0, "lavis_... only: warm-up in micro-batches, inside the first epoch", low=0)
    warmup_lr: float = option(0.0, "lavis_..., lf_vila_...: rate of the first micro-batch", low=0.0)
    decay_rate: float = option(0.85, "..._step only: factor per epoch (lavis) or per decay_epochs", low=0.0, high=1.0)
    decay_epochs: float = option(1.0, "lf_vila_step only: epochs between two factors", low=0.0)


@dataclass
class RunConfig:
    """Everything about one run that is neither model nor data."""

    runner: str = option("default", "training and evaluation loops, see `vidalign list runners`", registry="runner")
    output_dir: str = option("output/run", "run folder: config, metrics, predictions, checkpoints", path=True)
    seed: int = option(0, "names every random draw", low=0)
    device: str = option("auto", "auto takes CUDA when there is one", choices=("auto", "cpu", "cuda"))
    max_epochs: int = option(1, "passes over the training set", low=1)
    max_steps: int | None = option(None, "stop after so many optimizer steps, whatever max_epochs says", low=1)
    batch_size_per_gpu: int = option(8, "samples per process and micro-batch", low=1)
    eval_batch_size_per_gpu: int | None = option(None, "samples per process at evaluation; null: as in training", low=1)
    accumulate: int = option(1, "micro-batches per optimizer step", low=1)
    accumulation: str = option(
        "mean",
        "mean of the micro-batches' gradients; sum: added, rate set at each, leftovers enter the next epoch (ViLA)",
        choices=("mean", "sum"),
    )
    optimizer: OptimizerConfig = option(OptimizerConfig, "optimizer")
    schedule: ScheduleConfig = option(ScheduleConfig, "learning rate schedule")
    clip_grad_norm: float | None = option(None, "largest gradient norm; null: no clipping", low=0.0)
    precision: str = option(
        "bf16",
        "compute type; trained weights stay float32, fp16 uses a loss scaler",
        choices=("fp32", "bf16", "fp16"),
    )
    loss_norm: str = option(
        "official",
        "official: mean of the micro-batches' own means; tokens: one mean over all processes and micro-batches",
        choices=("official", "tokens"),
    )
    activation_checkpointing: str = option(
        "none", "recompute activations in the backward pass", choices=("none", "torch", "fairscale")
    )
    parallel: str = option(
        "ddp",
        "several processes: ddp keeps the whole model in each, fsdp shards parameters and optimizer (FSDP2)",
        choices=("ddp", "fsdp"),
    )
    compile: bool = option(False, "torch.compile the model")
    find_unused_parameters: bool = option(False, "DDP: some trained parameters get no gradient in some steps")
    sampler: str = option(
        "shuffle",
        "shuffle; length_grouped: batches of texts of similar length, videos apart (LLaVA); grouped: samples that the "
        "dataset declares to belong together (meta group) stay in one batch",
        choices=("shuffle", "length_grouped", "grouped"),
    )
    num_workers: int = option(2, "loader processes per GPU", low=0)
    eval_every_epochs: int = option(1, "evaluate after every so many epochs; 0: only at the end", low=0)
    eval_before_training: bool = option(False, "evaluate once before the first step")
    log_every_steps: int = option(10, "one line in metrics.jsonl per so many optimizer steps", low=1)
    max_failed_share: float = option(
        0.05, "training stops when a larger share of its media cannot be used", low=0.0, high=1.0
    )
    best_metric: str | None = option(None, "metric that picks checkpoints/best; null: the dataset's headline metric")
    resume: str = option(
        "auto", "auto goes on with a broken-off run found in output_dir; never starts over", choices=("auto", "never")
    )
    save_every_steps: int = option(0, "also save after every so many optimizer steps; 0: by the clock only", low=0)
    save_every_minutes: float = option(
        15.0, "also save when so many minutes have passed; 0: never by the clock", low=0.0
    )
    keep_last: int = option(1, "how many of the latest checkpoints to keep (last.pt is one of them)", low=1)
    keep_every: int = option(0, "keep the checkpoint of every so many epochs for good; 0: of none", low=0)
    watchdog_seconds: float = option(
        1800.0, "end the run with a report when nothing moves for so long; 0: wait for ever", low=0.0
    )
    save_full_model: bool = option(False, "checkpoints hold the frozen part too, not only what trains")
    tensorboard: bool = option(True, "write TensorBoard events when tensorboard is installed")
    checkpoint: str | None = option(None, "weights to start from or to evaluate (complete or error)", path=True)

    def problems(self) -> list[tuple[str, str]]:
        """Rules between the values above: (key, sentence)."""
        found = []
        if self.schedule.warmup_epochs > self.max_epochs:
            text = f"the warm-up is longer than the run ({self.max_epochs} epochs). Lower it or raise run.max_epochs."
            found.append(("schedule.warmup_epochs", text))
        if self.accumulation == "sum" and self.loss_norm == "tokens":
            found.append(("accumulation", "loss_norm tokens is one mean over all micro-batches. Write mean."))
        if len(self.optimizer.betas) != 2 or not all(0 <= one < 1 for one in self.optimizer.betas):
            found.append(("optimizer.betas", "two numbers from 0 up to, not including, 1. Write e.g. [0.9, 0.95]."))
        return found

    def missing_files(self) -> list[tuple[str, str]]:
        """Files that are not where the config says: (key, sentence)."""
        text = missing(self.checkpoint) if self.checkpoint is not None else None
        return [("checkpoint", f"{text} Give the path of a checkpoint, or null.")] if text else []


@dataclass
class Experiment:
    """A whole checked config. `model`, `task` and each value of `datasets` are instances of their own dataclasses.

    `path` is the file it came from; `sources` tells for each dotted key that was written where ("file:line" or
    "--options"); everything else is a default.
    """

    model: Any
    datasets: dict[str, Any]
    task: Any
    run: RunConfig
    paths: PathsConfig
    plugins: list[str]
    path: str = ""
    sources: dict[str, str] = field(default_factory=dict)
