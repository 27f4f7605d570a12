"""The default runner: a checked Experiment -> a trained or evaluated model and its run folder."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from vidalign.checkpoint.load import read_checkpoint
from vidalign.checkpoint.save import save_checkpoint
from vidalign.common import dist
from vidalign.common.errors import CheckpointError, ConfigError
from vidalign.common.io import write_json
from vidalign.config.load import resolved_yaml
from vidalign.runners.build import DataRoom, build_model, build_schedule, build_task, frozen_state, restore
from vidalign.runners.callbacks import Bar, MetricsFile, TensorBoard
from vidalign.runners.distributed import pick_device, process_group, unwrap, wrap
from vidalign.runners.dry_run import dry_run
from vidalign.runners.evaluate import EvalSet, evaluate
from vidalign.runners.folder import RunFolder, closing_table
from vidalign.runners.meters import NonFiniteLoss
from vidalign.runners.optim import build_optimizer, load_optimizer_state, trained_parameters
from vidalign.runners.progress import LoopSettings, Progress
from vidalign.runners.recompute import checkpoint_activations
from vidalign.runners.train import train

if TYPE_CHECKING:
    from torch import nn
    from torch.amp import GradScaler
    from torch.optim import Optimizer

    from vidalign.config.schema import Experiment

Results = dict[str, tuple[list[Any], dict[str, float]]]


class Runner:
    """`Runner(experiment).train()` or `.evaluate()`; under torchrun every process calls the same."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment, self.run = experiment, experiment.run
        self.folder = RunFolder(experiment)
        self.device = pick_device(experiment.run.device)

    def evaluate(self) -> dict[str, dict[str, float]]:
        """Evaluate every dataset with an `eval` split; writes records and metrics.json, prints the closing table."""
        with process_group(self.device):
            self.folder.start()
            task = build_task(self.experiment)
            model = build_model(self.experiment, device=self.device)
            sets = DataRoom(self.experiment, model, device=self.device).eval_sets()
            if not sets:
                raise ConfigError("datasets: none has an `eval` split; name one, e.g. datasets.star.eval=val")
            results = self.results(model, task, sets)
            self.close(results)
            return {name: metrics for name, (_, metrics) in results.items()}

    def train(self) -> list[dict[str, float]]:
        """Train, evaluating and saving after epochs as configured; returns the averages of each epoch."""
        with process_group(self.device):
            earlier = self._earlier()
            self.folder.start()
            task = build_task(self.experiment)
            model = build_model(self.experiment, device=self.device)
            room = DataRoom(self.experiment, model, device=self.device)
            loader, sets = room.train_loader(), room.eval_sets()
            checkpoint_activations(model, self.run.activation_checkpointing)
            parts = Parts(self.run, model, loader)
            progress, best = self._resume(parts, earlier)
            if self.run.compile:
                model.compile()
            return self._train(task, parts, sets, progress, best)

    def _train(
        self, task: Any, parts: Parts, sets: list[EvalSet], progress: Progress, best: float
    ) -> list[dict[str, float]]:
        lines = MetricsFile(self.folder.metrics_lines, step=progress.step)
        board = TensorBoard.if_installed(self.folder.tensorboard) if self.run.tensorboard and dist.is_main() else None
        bar = Bar(_total_steps(self.run, len(parts.loader)), progress.step) if dist.is_main() else None
        after = AfterEpoch(self, task, parts, sets, lines, board, best)
        if self.run.eval_before_training and progress.step == 0:
            after.evaluate(progress, kind="eval_before_training")
        wrapped = wrap(parts.model, device=self.device, find_unused_parameters=self.run.find_unused_parameters)
        try:
            history = train(
                wrapped,
                parts.loader,
                parts.optimizer,
                lr_at=build_schedule(self.experiment),
                settings=_loop_settings(self.run),
                device=self.device,
                scaler=parts.scaler,
                autocast=_autocast(parts.model, self.run.precision, self.device.type),
                callbacks=[one for one in (lines, board, bar, after) if one is not None],
                progress=progress,
            )
        except NonFiniteLoss as error:
            lines.write("non_finite_loss", progress, {"uids": error.uids})
            raise
        finally:
            for one in (board, bar):
                if one is not None:
                    one.close()
        self.close(after.results)
        return history

    def dry_run(self) -> None:
        """Check names, data files and weights' headers, print counts, and touch nothing."""
        print(dry_run(self.experiment))

    def results(self, model: nn.Module, task: Any, sets: list[EvalSet]) -> Results:
        """Evaluate every set; metrics.json holds the latest numbers."""
        results = {
            one.name: evaluate(model, task, one, folder=self.folder.predictions, device=self.device) for one in sets
        }
        if dist.is_main():
            write_json(self.folder.metrics, {name: metrics for name, (_, metrics) in results.items()})
        return results

    def close(self, results: Results) -> None:
        """The last words of a run."""
        if dist.is_main():
            if results:
                print(closing_table(results), flush=True)
            print(f"run folder: {self.folder.root}", flush=True)

    def _earlier(self) -> dict[str, Any] | None:
        """checkpoints/last.pt of a broken-off run of the very same config; ConfigError when the config differs."""
        if not self.folder.last.is_file():
            return None
        content = read_checkpoint(self.folder.last)
        if content.get("config") != resolved_yaml(self.experiment):
            raise ConfigError(
                f"run.output_dir: {self.folder.root} holds a run with another config (checkpoints/last.pt); choose "
                "another folder, or remove this one to start over"
            )
        return content

    def _resume(self, parts: Parts, earlier: dict[str, Any] | None) -> tuple[Progress, float]:
        if earlier is None:
            return Progress(), -math.inf
        progress = parts.restore(earlier, where=str(self.folder.last))
        if dist.is_main():
            print(f"going on from {self.folder.last}: epoch {progress.epoch}, step {progress.step}", flush=True)
        return progress, earlier["best"]


class Parts:
    """What a checkpoint is made of: model, optimizer, scaler, and the loader's position."""

    def __init__(self, run: Any, model: nn.Module, loader: Any) -> None:
        self.model, self.loader = model, loader
        # The loop sets the rate before every step.
        self.optimizer: Optimizer = build_optimizer(trained_parameters(model), run.optimizer, lr=0.0)
        self.scaler = _scaler(model) if run.precision == "fp16" else None

    def content(self, progress: Progress, *, best: float, config: str, frozen: bool) -> dict[str, Any]:
        """Everything needed to go on, and under "model" what a released checkpoint holds."""
        content = {
            "model": self.model.export_state(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict() if self.scaler else {},
            "sampler": self.loader.sampler.state_dict(),
            **asdict(progress),
            "best": best,
            "config": config,
        }
        return content | ({"frozen": frozen_state(self.model)} if frozen else {})

    def restore(self, content: dict[str, Any], *, where: str) -> Progress:
        """Put everything back where `content` was made."""
        restore(self.model, content, where=where)
        try:
            load_optimizer_state(self.optimizer, content["optimizer"])
            if self.scaler is not None:
                self.scaler.load_state_dict(content["scaler"])
            self.loader.sampler.load_state_dict(content["sampler"])
            return Progress(**{name: content[name] for name in asdict(Progress())})
        except (KeyError, ValueError) as error:
            raise CheckpointError(f"{where}: cannot go on from it ({error}); start over in another folder") from error


@dataclass
class AfterEpoch:
    """Callback: evaluate, keep the best, save the last."""

    runner: Runner
    task: Any
    parts: Parts
    sets: list[EvalSet]
    lines: MetricsFile
    board: TensorBoard | None
    best: float

    def __post_init__(self) -> None:
        self.results: Results = {}

    def on_step(self, progress: Progress) -> None:
        """Nothing."""

    def on_line(self, progress: Progress, values: dict[str, float]) -> None:
        """Nothing."""

    def on_epoch(self, progress: Progress, values: dict[str, float]) -> None:
        """Evaluation where due, then checkpoints. The last epoch is always evaluated."""
        run = self.runner.run
        stopped = run.max_steps is not None and progress.step >= run.max_steps
        last = stopped or progress.epoch + 1 == run.max_epochs
        if progress.failures and dist.is_main():
            self.lines.write("failed_media", progress, {"failures": progress.failures})
        due = run.eval_every_epochs and (progress.epoch + 1) % run.eval_every_epochs == 0
        better = self.evaluate(progress) if due or last else False
        self.save(progress, better=better)

    def evaluate(self, progress: Progress, *, kind: str = "eval") -> bool:
        """Evaluate all sets; True when the best metric rose."""
        self.results = self.runner.results(self.parts.model, self.task, self.sets)
        for name, (_, metrics) in self.results.items():
            self.lines.write(kind, progress, {"split": name, **metrics})
            if self.board is not None:
                self.board.scalars(f"{kind}/{name}", progress.step, metrics)
        score = self._score()
        better = score is not None and score > self.best
        if better:
            self.best = score
        return better

    def save(self, progress: Progress, *, better: bool) -> None:
        """checkpoints/last.pt, and best.pt when the metric rose. Stored is the position to go on from."""
        if not dist.is_main():
            return
        run, folder = self.runner.run, self.runner.folder
        if len(self.parts.loader) - progress.iteration < run.accumulate:
            # The epoch is over: what is left is dropped by the loop.
            progress = Progress(**{**asdict(progress), "epoch": progress.epoch + 1, "iteration": 0})
            self.parts.loader.sampler.set_epoch(progress.epoch)
        content = self.parts.content(
            progress,
            best=self.best,
            config=resolved_yaml(self.runner.experiment),
            frozen=run.save_full_model,
        )
        save_checkpoint(folder.last, content)
        if better:
            save_checkpoint(folder.best, content)

    def _score(self) -> float | None:
        """run.best_metric, else the headline metric, of the first split that has it."""
        wish = self.runner.run.best_metric
        for one in self.sets:
            metrics = self.results[one.name][1]
            if (wish or one.info.headline) in metrics:
                return metrics[wish or one.info.headline]
        if wish is None:
            return None
        known = sorted({name for _, metrics in self.results.values() for name in metrics})
        raise ConfigError(f"run.best_metric: no split has {wish!r}; there is {', '.join(known)}")


def _loop_settings(run: Any) -> LoopSettings:
    return LoopSettings(**{name: getattr(run, name) for name in LoopSettings.__dataclass_fields__})


def _total_steps(run: Any, batches: int) -> int:
    steps = batches // run.accumulate * run.max_epochs
    return min(steps, run.max_steps or steps)


def _scaler(model: nn.Module) -> GradScaler:
    """As in the official loop: initial scale 65536, doubled after 2000 good steps."""
    import torch

    return torch.amp.GradScaler(next(model.parameters()).device.type, init_scale=65536.0)


def _autocast(model: nn.Module, precision: str, device_type: str) -> Callable[[], AbstractContextManager[Any]]:
    """No autocast by default: models cast inside, between float32 trained weights and the frozen type."""
    import torch

    if precision == "fp32" or not getattr(unwrap(model), "uses_autocast", False):
        return nullcontext
    return partial(torch.autocast, device_type, dtype=torch.bfloat16 if precision == "bf16" else torch.float16)
