"""The default runner: a checked Experiment -> a trained or evaluated model and its run folder."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from vidalign.checkpoint.load import read_checkpoint
from vidalign.common import dist
from vidalign.common.errors import CheckpointError, ConfigError
from vidalign.common.io import write_json
from vidalign.config.same_run import changed_keys, same_scores
from vidalign.data.workers import dead_worker_told, worker_context
from vidalign.runners.build import DataRoom, build_model, build_schedule, build_task, restore
from vidalign.runners.callbacks import Bar, MetricsFile, TensorBoard
from vidalign.runners.distributed import lost_process_told, pick_device, process_group, unwrap, wrap
from vidalign.runners.dry_run import dry_run
from vidalign.runners.eval_parts import evaluation_key
from vidalign.runners.evaluate import EvalSet, evaluate, part_files
from vidalign.runners.folder import RunFolder, closing_table
from vidalign.runners.keep import Keeper
from vidalign.runners.meters import NonFiniteLoss
from vidalign.runners.milestones import Milestones
from vidalign.runners.progress import LoopSettings, Progress
from vidalign.runners.recompute import checkpoint_activations
from vidalign.runners.sharding import shard
from vidalign.runners.state import Parts
from vidalign.runners.stop import StopRequest
from vidalign.runners.train import train
from vidalign.runners.watchdog import Watchdog

if TYPE_CHECKING:
    from torch import nn

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
        self._begin_workers()
        with process_group(self.device), dead_worker_told(), lost_process_told():
            if dist.is_main():
                Keeper(self.folder, self.run).tidy()
            self.folder.start()
            task = build_task(self.experiment)
            model = build_model(self.experiment, device=self.device)
            sets = DataRoom(self.experiment, model, device=self.device).eval_sets()
            if not sets:
                raise ConfigError("datasets: none has an `eval` split; name one, e.g. datasets.star.eval=val")
            with StopRequest() as stop, Watchdog(self.run.watchdog_seconds) as watchdog:
                results = self.results(model, task, sets, stop, watchdog)
            self.remove_parts(sets)
            self.close(results)
            return {name: metrics for name, (_, metrics) in results.items()}

    def train(self) -> list[dict[str, float]]:
        """Train, evaluating and saving after epochs as configured; returns the averages of each epoch."""
        self._begin_workers()
        with process_group(self.device), dead_worker_told(), lost_process_told():
            earlier = self._earlier()
            self.folder.start()
            task = build_task(self.experiment)
            model = build_model(self.experiment, device=self.device)
            room = DataRoom(self.experiment, model, device=self.device)
            loader, sets = room.train_loader(), room.eval_sets()
            checkpoint_activations(model, self.run.activation_checkpointing)
            if self.run.parallel == "fsdp":
                self._shard(model, earlier, evaluates=bool(sets))
            parts = Parts(self.run, model, loader, device=self.device)
            progress, best = self._resume(parts, earlier)
            if self.run.compile:
                model.compile()
            with StopRequest() as stop, Watchdog(self.run.watchdog_seconds) as watchdog:
                lines = MetricsFile(
                    self.folder.metrics_lines, count=earlier["lines"] if earlier else 0, samples=progress.samples
                )
                board = self._board(progress.step)
                after = Milestones(
                    self, task, parts, sets, lines, board, Keeper(self.folder, self.run), stop, watchdog, best
                )
                return self._train(after, progress, evaluate_epoch=earlier["evaluate_epoch"] if earlier else None)

    def _begin_workers(self) -> None:
        """The server that workers come from imports torch while the model is built."""
        if self.run.num_workers > 0:
            worker_context()

    def _shard(self, model: nn.Module, earlier: dict[str, Any] | None, *, evaluates: bool) -> None:
        """FSDP2; weights of a broken-off run are put back before the model is divided."""
        if evaluates:
            raise ConfigError(
                "run.parallel: fsdp, but a dataset has an `eval` split: an evaluation has no exchange between "
                "processes, which a divided model needs. Set datasets.NAME.eval to null and use evaluate.py on the "
                "checkpoint"
            )
        if earlier is not None and dist.world_size() > 1:
            restore(model, earlier, where=str(self.folder.last))
        shard(model, device=self.device)

    def _train(self, after: Milestones, progress: Progress, *, evaluate_epoch: int | None) -> list[dict[str, float]]:
        parts, lines, board = after.parts, after.lines, after.board
        if self.run.eval_before_training and progress.step == 0:
            after.evaluate(progress, kind="eval_before_training")
            self.remove_parts(after.sets)
        if evaluate_epoch is not None:
            after.evaluate_epoch(progress, evaluate_epoch)
        bar = Bar(_total_steps(self.run, len(parts.loader)), progress.step) if dist.is_main() else None
        after.watchdog.look_at(parts.loader)
        wrapped = wrap(parts.model, device=self.device, find_unused_parameters=self.run.find_unused_parameters)
        try:
            history = train(
                wrapped,
                parts.loader,
                parts.optimizer,
                lr_at=build_schedule(self.experiment, iterations_per_epoch=len(parts.loader)),
                settings=_loop_settings(self.run),
                device=self.device,
                scaler=parts.scaler,
                autocast=_autocast(parts.model, self.run.precision, self.device.type),
                callbacks=[one for one in (lines, board, bar, after) if one is not None],
                progress=progress,
                meters=parts.meters,
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

    def results(
        self, model: nn.Module, task: Any, sets: list[EvalSet], stop: StopRequest, watchdog: Watchdog
    ) -> Results:
        """Evaluate every set; metrics.json holds the latest numbers. Stopped at a signal: finished batches are kept."""
        import torch

        results = {}
        for one in sets:
            watchdog.look_at(one.loader)
            count = itertools.count(1)

            def on_batch(name: str = one.name, count: Iterator[int] = count) -> None:
                watchdog.moved(f"batch {next(count)} of the evaluation of {name}")
                stop.obey(stop.signal, f"inside the evaluation of {name}; the same command goes on there")

            # Draws inside an evaluation must not reach the training: a restarted one may have fewer of them.
            with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
                key = evaluation_key(self.experiment, model, dataset=one.dataset, samples=one.samples)
                results[one.name] = evaluate(
                    model,
                    task,
                    one,
                    folder=self.folder.predictions,
                    device=self.device,
                    key=key,
                    on_batch=on_batch,
                    scoring=watchdog.paused,
                )
        if dist.is_main():
            write_json(self.folder.metrics, {name: metrics for name, (_, metrics) in results.items()})
        return results

    def remove_parts(self, sets: list[EvalSet]) -> None:
        """The results of an evaluation are safe: its part files go."""
        if dist.is_main():
            for one in sets:
                part_files(self.folder.predictions, one, "").remove()

    def close(self, results: Results) -> None:
        """The last words of a run."""
        if dist.is_main():
            if results:
                print(closing_table(results), flush=True)
            print(f"run folder: {self.folder.root}", flush=True)

    def _earlier(self) -> dict[str, Any] | None:
        """checkpoints/last.pt of a broken-off run of the same config; ConfigError when the config differs.

        Half-written files of a killed run are removed; with run.resume=never its checkpoints are set aside.
        """
        keeper = Keeper(self.folder, self.run)
        if dist.is_main():
            keeper.tidy()
            aside = keeper.set_aside() if self.run.resume == "never" else None
            if aside is not None:
                print(f"run.resume=never: the checkpoints of the earlier run are in {aside} now", flush=True)
        dist.barrier()
        if not self.folder.last.is_file():
            return None
        content = read_checkpoint(self.folder.last)
        changed = changed_keys(content.get("config", ""), self.experiment)
        if changed:
            raise ConfigError(
                f"run.output_dir: {self.folder.root} holds a run with another config (checkpoints/last.pt differs in "
                f"{', '.join(changed[:5])}{', ...' if len(changed) > 5 else ''}); choose another folder, or use "
                "run.resume=never to start over in this one"
            )
        if missing := {"lines", "evaluate_epoch", "best"} - content.keys():
            raise CheckpointError(
                f"{self.folder.last}: cannot go on from it (it has no {', '.join(sorted(missing))}); start over in "
                "another folder, with run.checkpoint for its weights"
            )
        return content

    def _board(self, step: int) -> TensorBoard | None:
        if not (self.run.tensorboard and dist.is_main()):
            return None
        return TensorBoard.if_installed(self.folder.tensorboard, step=step)

    def _resume(self, parts: Parts, earlier: dict[str, Any] | None) -> tuple[Progress, float]:
        if earlier is None:
            return Progress(), -math.inf
        progress = parts.restore(earlier, where=str(self.folder.last))
        if dist.is_main():
            print(f"going on from {self.folder.last}: epoch {progress.epoch}, step {progress.step}", flush=True)
        return progress, earlier["best"] if same_scores(earlier["config"], self.experiment) else -math.inf


def _loop_settings(run: Any) -> LoopSettings:
    return LoopSettings(**{name: getattr(run, name) for name in LoopSettings.__dataclass_fields__})


def _total_steps(run: Any, batches: int) -> int:
    steps = batches // run.accumulate * run.max_epochs
    return min(steps, run.max_steps or steps)


def _autocast(model: nn.Module, precision: str, device_type: str) -> Callable[[], AbstractContextManager[Any]]:
    """No autocast by default: models cast inside, between float32 trained weights and the frozen type."""
    import torch

    if precision == "fp32" or not getattr(unwrap(model), "uses_autocast", False):
        return nullcontext
    return partial(torch.autocast, device_type, dtype=torch.bfloat16 if precision == "bf16" else torch.float16)
