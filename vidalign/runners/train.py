"""The one training loop: CPU, one GPU, several processes.

    for batch: out = model(batch); sum of out.losses -> backward; every `accumulate` batches one optimizer step

Nothing here asks the device for a number except when a log line is written (Meters.averages).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vidalign.common import dist
from vidalign.common.errors import TrainingError
from vidalign.common.output import to_device
from vidalign.runners.distributed import same_everywhere, sum_over_processes, synced, unwrap
from vidalign.runners.meters import EpochMeters, Meters
from vidalign.runners.optim import set_rate
from vidalign.runners.progress import Callback, LoopSettings, Progress

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from torch.amp import GradScaler
    from torch.optim import Optimizer

    from vidalign.common.output import Output


def train(
    model: nn.Module,
    loader: Iterable[dict[str, Any]],
    optimizer: Optimizer,
    *,
    lr_at: Callable[[float], float],
    settings: LoopSettings,
    device: torch.device | str = "cpu",
    scaler: GradScaler | None = None,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    callbacks: Iterable[Callback] = (),
    progress: Progress | None = None,
    meters: EpochMeters | None = None,
) -> list[dict[str, float]]:
    """Train from `progress` to the end; returns each epoch's averages {"lr", "loss", loss names ..., log names ...}.

    loader: sized; yields {"batch": dict or None, "failures": [objects with uid and reason]} on the CPU; a list of such
    will do. Its `sampler`, where it has one, is told the epoch and says how much of it was consumed before.
    meters: averages of an epoch that was broken off; they are continued when the loader starts inside it.
    lr_at: position in epochs -> learning rate; asked at the first micro-batch of each step.
    Raises TrainingError: non-finite loss, too many failed media.
    """
    import torch

    assert isinstance(loader, Sized), "the loader must have a length: the schedule counts in epochs"
    same_everywhere(len(loader), "the number of micro-batches per epoch")
    if len(loader) < settings.accumulate:
        raise TrainingError(
            f"an epoch has {len(loader)} micro-batches, fewer than run.accumulate={settings.accumulate}: no step would "
            "be taken; lower run.accumulate or run.batch_size_per_gpu"
        )
    progress = progress or Progress()
    meters = meters or EpochMeters(torch.device(device))
    loop = _Loop(model, optimizer, settings, torch.device(device), scaler, autocast, progress, lr_at, len(loader))
    history = []
    for epoch in range(progress.epoch, settings.max_epochs):
        if loop.finished:
            break
        progress.epoch, progress.iteration = epoch, 0
        if hasattr(loader, "sampler"):
            loader.sampler.set_epoch(epoch)
            progress.iteration = loader.sampler.consumed_batches  # not 0 when a run goes on inside an epoch
        if progress.iteration == 0:
            progress.failed = progress.batch_samples = 0
            meters.begin()
        history.append(_epoch(loop, loader, tuple(callbacks), meters))
        for callback in callbacks:
            callback.on_epoch(progress, history[-1])
    return history


def _epoch(loop: _Loop, loader: Any, callbacks: tuple[Callback, ...], meters: EpochMeters) -> dict[str, float]:
    """One pass over the loader, or what is left of it; returns the whole epoch's averages."""
    settings, progress = loop.settings, loop.progress
    loop.model.train()
    window = meters.window
    for group in groups(loop.usable(loader), settings.accumulate):
        if len(group) < settings.accumulate:
            loop.leftover(group, window)
            break
        loop.step(group, window)
        if loop.device.type == "cpu" and dist.world_size() == 1:
            window.check()
        if progress.step % settings.log_every_steps == 0:
            line = meters.close_window()
            for callback in callbacks:
                callback.on_line(progress, line)
        # Last: who saves a checkpoint here must find this step's line written.
        for callback in callbacks:
            callback.on_step(progress)
        if loop.finished:
            break
    meters.close_window()
    return meters.whole.averages()


def groups(entries: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of `size` consecutive entries; the last may be shorter."""
    group: list[Any] = []
    for entry in entries:
        group.append(entry)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


@dataclass
class _Batch:
    """One micro-batch on the CPU; `real` is False for a stand-in that takes part with weight 0."""

    data: dict[str, Any]
    real: bool = True


@dataclass
class _Loop:
    """What stays the same from step to step."""

    model: nn.Module
    optimizer: Optimizer
    settings: LoopSettings
    device: torch.device
    scaler: GradScaler | None
    autocast: Callable[[], AbstractContextManager[Any]]
    progress: Progress
    lr_at: Callable[[float], float]
    length: int

    @property
    def finished(self) -> bool:
        return self.settings.max_steps is not None and self.progress.step >= self.settings.max_steps

    def usable(self, loader: Any) -> Iterator[_Batch]:
        """The loader's batches, failures counted. A batch without one usable sample is replaced by the one before it,
        with weight 0: with several processes every one must take part in every exchange."""
        previous, progress = None, self.progress
        for entry in loader:
            data, failures = entry["batch"], entry.get("failures", ())
            progress.failures.update({failure.uid: failure.reason for failure in failures})
            progress.failed += len(failures)
            size = len(failures) + (len(data.get("uid", ())) if data else 0)
            progress.batch_samples = max(progress.batch_samples, size)
            total = progress.batch_samples * len(loader)
            if progress.failed > self.settings.max_failed_share * total:
                raise TrainingError(self._too_many(progress.failed, total))
            if data is not None:
                previous = data
            elif previous is None and hasattr(loader, "usable_before"):
                previous = loader.usable_before()  # a run that goes on inside an epoch
            if previous is None:
                raise TrainingError(f"no sample of the first batch can be used:\n{self._reasons()}")
            yield _Batch(previous, real=data is not None)

    def step(self, batches: list[_Batch], window: Meters) -> None:
        """One optimizer step over its micro-batches; observations go into `window`."""
        from torch.nn.utils import clip_grad_norm_

        self.gradients(batches, window)
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        if self.settings.clip_grad_norm is not None:
            trained = [p for group in self.optimizer.param_groups for p in group["params"]]
            window.add({"grad_norm": clip_grad_norm_(trained, self.settings.clip_grad_norm).detach()})
        if self.scaler is not None:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()
        # Now, not before the next step: with accumulation "sum" gradients that are there belong to the next one.
        self.optimizer.zero_grad(set_to_none=True)
        self.progress.step += 1
        self.progress.iteration += len(batches)

    def gradients(self, batches: list[_Batch], window: Meters) -> None:
        """Forward and backward of micro-batches of one step.

        The rate is asked for at the first of them; with accumulation "sum" at each, as the official LAVIS loop does.
        """
        weights = self._weights(batches)
        for index, batch in enumerate(batches):
            position = self._position(index)
            if index == 0 or self.settings.accumulation == "sum":
                lr = self.lr_at(position)
                set_rate(self.optimizer, lr)
            if hasattr(unwrap(self.model), "set_position"):
                unwrap(self.model).set_position(position, self.length)
            with synced(self.model, last=index == len(batches) - 1):
                self._micro(batch, weights[index] if weights else None, lr, window)

    def leftover(self, batches: list[_Batch], window: Meters) -> None:
        """Micro-batches at the epoch's end that are too few for a step."""
        if self.settings.accumulation == "sum":
            # Kept: their gradients stay and enter the first step of the next epoch. [vila_train_loop]
            self.gradients(batches, window)
            return
        # Kept: they are seen by the averages and not trained on; the official loop computes their gradient and throws
        # it away. [golden: train_two_epochs]
        lr = self.lr_at(self._position(0))
        set_rate(self.optimizer, lr)
        self.look(batches, lr, window)

    def _position(self, index: int) -> float:
        """Of the micro-batch `index` after the last step, in epochs."""
        return self.progress.epoch + (self.progress.iteration + index) / self.length

    def _micro(self, batch: _Batch, weights: dict[str, Tensor] | None, lr: float, window: Meters) -> None:
        """Forward and backward of one micro-batch."""
        data = to_device(batch.data, self.device)
        with self.autocast():
            output = self.model(data)
        losses = output.losses
        if weights is None:
            loss = sum(losses.values())
            # Kept: "sum" does not divide; the published rates of ViLA and SeViLA belong to sums. [vila_train_loop]
            parts = 1 if self.settings.accumulation == "sum" else self.settings.accumulate
            share = loss * (float(batch.real) / parts)
        else:
            losses = {name: loss * _weight(name, output, weights, batch) for name, loss in losses.items()}
            loss = sum(losses.values())
            share = loss * dist.world_size()  # DDP takes the mean of the processes' gradients; the weights want a sum
        (share if self.scaler is None else self.scaler.scale(share)).backward()

        if batch.real or weights is not None:
            self._observe(losses, loss, lr, window, parts=weights is not None)
            window.add({name: value.detach() for name, value in output.logs.items()})
            window.watch(loss, list(data.get("uid", ())))
        self.progress.samples += len(data.get("uid", ())) * batch.real

    def look(self, batches: list[_Batch], lr: float, window: Meters) -> None:
        """Losses of micro-batches that are not trained on."""
        import torch

        if self.settings.loss_norm == "tokens":
            return
        for batch in batches:
            if not batch.real:
                continue
            with torch.no_grad(), self.autocast():
                losses = unwrap(self.model)(to_device(batch.data, self.device)).losses
            loss = sum(losses.values())
            self._observe(losses, loss, lr, window, parts=False)
            window.watch(loss, list(batch.data.get("uid", ())))

    def _observe(self, losses: dict[str, Tensor], loss: Tensor, lr: float, window: Meters, *, parts: bool) -> None:
        """With parts, an observation is a share of its step, so `accumulate` of them make one value."""
        scale = float(self.settings.accumulate) if parts else 1.0
        values = {name: value.detach() * scale for name, value in losses.items()}
        window.add({**values, "loss": loss.detach() * scale}, parts=parts)
        window.add({"lr": lr})

    def _weights(self, batches: list[_Batch]) -> list[dict[str, Tensor]] | None:
        """loss_norm tokens: per micro-batch, loss name -> its items / the items of the step over all processes."""
        import torch

        if self.settings.loss_norm == "official":
            return None
        counts = [unwrap(self.model).supervised_counts(batch.data) for batch in batches]
        names = sorted(counts[0])
        rows = [
            [float(count[name]) * batch.real for name in names] for count, batch in zip(counts, batches, strict=True)
        ]
        table = torch.tensor(rows, dtype=torch.float64).to(self.device)
        total = sum_over_processes(table.sum(dim=0))
        shares = (table / total.clamp(min=1)).float()
        return [dict(zip(names, row.unbind(), strict=True)) for row in shares]

    def _too_many(self, failed: int, total: int) -> str:
        return (
            f"{failed} of about {total} samples of an epoch cannot be used, more than run.max_failed_share="
            f"{self.settings.max_failed_share}; mend the files or raise the share:\n{self._reasons()}"
        )

    def _reasons(self) -> str:
        lines = [f"  {uid}: {reason}" for uid, reason in list(self.progress.failures.items())[:5]]
        return "\n".join(lines)


def _weight(name: str, output: Output, weights: dict[str, Tensor], batch: _Batch) -> Tensor | float:
    """Sums over samples add up without division; means over items weigh by their share of the items."""
    if name in output.sums:
        return float(batch.real)
    if name not in weights:
        raise TrainingError(f"run.loss_norm=tokens: the model's supervised_counts() has no count for its loss {name!r}")
    return weights[name]
