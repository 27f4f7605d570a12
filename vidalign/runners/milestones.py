"""Callback that saves and evaluates: inside an epoch by steps, clock or signal; after it also the best checkpoint."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vidalign.common import dist
from vidalign.common.errors import CheckpointError, ConfigError
from vidalign.config.load import resolved_yaml
from vidalign.runners.callbacks import MetricsFile, TensorBoard
from vidalign.runners.distributed import Agreement, gather_objects
from vidalign.runners.evaluate import EvalSet
from vidalign.runners.keep import Keeper
from vidalign.runners.meters import NonFiniteLoss
from vidalign.runners.progress import Progress
from vidalign.runners.sharding import gathered, is_sharded
from vidalign.runners.state import Parts
from vidalign.runners.stop import StopRequest
from vidalign.runners.watchdog import Watchdog

if TYPE_CHECKING:
    from vidalign.runners.run import Results, Runner


LESS_IS_BETTER = ("mse", "MedR", "MeanR", "loss")


@dataclass
class Milestones:
    """An epoch is saved before its evaluation too, so that a run killed there goes on with the evaluation."""

    runner: Runner
    task: Any
    parts: Parts
    sets: list[EvalSet]
    lines: MetricsFile
    board: TensorBoard | None
    keeper: Keeper
    stop: StopRequest
    watchdog: Watchdog
    best: float

    def __post_init__(self) -> None:
        self.results: Results = {}
        self._agreement = Agreement(self.runner.device)

    def on_step(self, progress: Progress) -> None:
        """A checkpoint where due; Stopped when a signal came, after saving."""
        self.watchdog.moved(f"step {progress.step} of epoch {progress.epoch}")
        signal, clock = self._agreement.largest([self.stop.signal, dist.is_main() and self.keeper.by_clock()])
        if signal or clock or self.keeper.due(progress.step):
            self.save(progress)
        self.stop.obey(signal, f"saved after step {progress.step} of epoch {progress.epoch}; the same command goes on")

    def on_line(self, progress: Progress, values: dict[str, float]) -> None:
        """Nothing."""

    def on_epoch(self, progress: Progress, values: dict[str, float]) -> None:
        """Evaluation where due, then checkpoints. The last epoch is always evaluated."""
        run = self.runner.run
        stopped = run.max_steps is not None and progress.step >= run.max_steps
        last = stopped or progress.epoch + 1 == run.max_epochs
        failures = {uid: why for rank in gather_objects(progress.failures) for uid, why in rank.items()}
        if failures:
            self.lines.write("failed_media", progress, {"failures": failures})
        due = run.eval_every_epochs and (progress.epoch + 1) % run.eval_every_epochs == 0
        position = self._position(progress)
        if (due or last) and self.sets:
            self.save(position, evaluate_epoch=progress.epoch)
            self.evaluate_epoch(position, progress.epoch)
        else:
            self.save(position, epochs=position.epoch)
        self.watchdog.look_at(self.parts.loader)

    def evaluate_epoch(self, position: Progress, epoch: int) -> None:
        """Evaluate after `epoch` and save; position: where training goes on. A restarted run may begin here."""
        better = self.evaluate(replace(position, epoch=epoch))
        self.save(position, better=better, epochs=position.epoch)
        self.runner.remove_parts(self.sets)

    def evaluate(self, progress: Progress, *, kind: str = "eval") -> bool:
        """Evaluate all sets; True when the best metric rose."""
        self.results = self.runner.results(self.parts.model, self.task, self.sets, self.stop, self.watchdog)
        for name, (_, metrics) in self.results.items():
            self.lines.write(kind, progress, {"split": name, **metrics})
            if self.board is not None:
                self.board.scalars(f"{kind}/{name}", progress.step, metrics)
        score = self._score()
        better = score is not None and score > self.best
        if better:
            self.best = score
        return better

    def save(
        self,
        progress: Progress,
        *,
        better: bool = False,
        epochs: int | None = None,
        evaluate_epoch: int | None = None,
    ) -> None:
        """last.pt and its other names; all processes must call this. evaluate_epoch: an evaluation that is still due.

        Raises on every process: NonFiniteLoss instead of saving weights that a bad loss has reached, CheckpointError
        when the file cannot be written.
        """
        own = self.parts.of_this_process(progress), self.parts.meters.window.broken()
        ranks, broken = zip(*gather_objects(own), strict=True)
        if any(broken):
            raise NonFiniteLoss([uid for uids in broken for uid in uids])
        problem, content = None, {}
        sharded = is_sharded(self.parts.model)
        if dist.is_main() or sharded:
            content = self.parts.content(
                list(ranks),
                frozen=self.runner.run.save_full_model,
                best=self.best,
                lines=self.lines.count,
                evaluate_epoch=evaluate_epoch,
                config=resolved_yaml(self.runner.experiment),
            )
        if sharded:
            with dist.collective("gathering the divided model"):
                content = gathered(content)
        if dist.is_main():
            try:
                self.keeper.save(content, better=better, epochs=epochs)
            except CheckpointError as error:
                problem = error
        problem = gather_objects(problem)[0]
        if problem is not None:
            raise problem

    def _position(self, progress: Progress) -> Progress:
        """Where to go on: in the next epoch, unless max_steps ended this one early."""
        if len(self.parts.loader) - progress.iteration >= self.runner.run.accumulate:
            return progress
        # What is left of the epoch is dropped by the loop.
        self.parts.loader.sampler.set_epoch(progress.epoch + 1)
        return replace(progress, epoch=progress.epoch + 1, iteration=0)

    @staticmethod
    def _tell_if_endless(one: EvalSet, name: str, metrics: dict[str, float]) -> None:
        """An infinite error is never the best."""
        if dist.is_main() and not math.isfinite(metrics[name]):
            rest = f"answered_{name}"
            instead = f"; run.best_metric={rest} compares the others" if rest in metrics else ""
            failed = metrics.get("failed", 0)
            print(f"no new best.pt: {one.name} has {name} {metrics[name]}, {failed} failed{instead}", file=sys.stderr)

    def _score(self) -> float | None:
        """run.best_metric, else the headline metric of dataset or task, of the first split that has it; negative where
        less is better."""
        wish = self.runner.run.best_metric
        for one in self.sets:
            metrics = self.results[one.name][1]
            for name in [wish] if wish else [one.info.headline, getattr(self.task, "headline", None)]:
                if name in metrics:
                    self._tell_if_endless(one, name, metrics)
                    return -metrics[name] if name.endswith(LESS_IS_BETTER) else metrics[name]
        known = ", ".join(sorted({name for _, metrics in self.results.values() for name in metrics}))
        if wish is not None:
            raise ConfigError(
                f"run.best_metric: no split has {wish!r}; there is {known}. Nothing is lost: with another name the "
                "same command goes on from here"
            )
        if dist.is_main():
            wanted = " or ".join(sorted({one.info.headline for one in self.sets}))
            print(f"no best.pt: no split has {wanted}; name a metric with run.best_metric: {known}", file=sys.stderr)
        return None
