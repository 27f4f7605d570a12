"""Running averages that stay on the device until a line is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from vidalign.common import dist
from vidalign.common.errors import TrainingError
from vidalign.runners.distributed import gather_objects, sum_over_processes

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Meters:
    """Averages of named scalars over a stretch of training, and a watch over non-finite losses.

    Names added with `parts=True` hold one process's share of a global value: the processes' averages add up. All others
    are averaged over the processes. Names stay known after `reset`, so that all processes reduce the same list.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.sums: dict[str, Tensor | float] = {}
        self.counts: dict[str, int] = {}
        self.parts: set[str] = set()
        self._finite: list[Tensor] = []
        self._uids: list[list[str]] = []

    def add(self, values: Mapping[str, Tensor | float], *, parts: bool = False) -> None:
        """One observation of each name; tensors are 0-d and must be detached."""
        for name, value in values.items():
            wide = value if isinstance(value, float) else value.double()
            self.sums[name] = self.sums.get(name, 0.0) + wide
            self.counts[name] = self.counts.get(name, 0) + 1
        if parts:
            self.parts.update(values)

    def watch(self, loss: Tensor, uids: list[str]) -> None:
        """Remember whether this micro-batch's loss was finite, and whose it was; asks the device for nothing."""
        self._finite.append(loss.detach().isfinite())
        self._uids.append(uids)

    def check(self) -> None:
        """Raise TrainingError at once if an own loss was not finite (one process, CPU: asking is free)."""
        if not all(bool(finite) for finite in self._finite):
            self._stop()

    def merge(self, other: Meters) -> None:
        """Add everything the other has observed."""
        for name, value in other.sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + other.counts[name]
        self.parts |= other.parts

    def reset(self) -> None:
        """Forget the values, keep the names."""
        self.sums = dict.fromkeys(self.sums, 0.0)
        self.counts = dict.fromkeys(self.counts, 0)
        self._finite, self._uids = [], []

    def broken(self) -> list[str]:
        """The uids of the first own micro-batch since the last reset whose loss was not finite; [] when all were."""
        for finite, uids in zip(self._finite, self._uids, strict=True):
            if not bool(finite):
                return uids or ["(samples without uid)"]
        return []

    def state_dict(self) -> dict[str, Any]:
        """What was observed, as plain numbers; a float64 survives this exactly."""
        sums = {name: float(value) for name, value in self.sums.items()}
        return {"sums": sums, "counts": dict(self.counts), "parts": sorted(self.parts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the observations of `state` instead of the own ones."""
        self.sums, self.counts, self.parts = dict(state["sums"]), dict(state["counts"]), set(state["parts"])
        self._finite, self._uids = [], []

    def averages(self) -> dict[str, float]:
        """Averages over observations and processes, as numbers. The one place where the CPU waits for the device.

        Raises TrainingError on every process when any loss since the last reset was not finite.
        """
        import torch

        names = sorted(self.sums)
        means = [torch.as_tensor(self.sums[n], dtype=torch.float64) / max(self.counts[n], 1) for n in names]
        bad = ~torch.stack(self._finite).all() if self._finite else torch.zeros((), dtype=torch.bool)
        there = [torch.tensor(float(self.counts[n] > 0)) for n in names]
        row = torch.stack([value.to(self.device, torch.float64) for value in (*means, *there, bad)])
        values = sum_over_processes(row).tolist()
        if values[-1]:
            self._stop()
        have = dict(zip(names, values[len(names) : -1], strict=True))
        return {
            name: value if name in self.parts else value / max(have[name], 1.0)
            for name, value in zip(names, values[: len(names)], strict=True)
        }

    def _stop(self) -> None:
        own = [uids for finite, uids in zip(self._finite, self._uids, strict=True) if not bool(finite)]
        first = [uid for ranks in gather_objects(own[:1]) for uids in ranks for uid in uids]
        raise NonFiniteLoss(first)


class EpochMeters:
    """Averages of the running epoch, and of the window since its last line; part of a checkpoint."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.begin()

    def begin(self) -> None:
        """A new epoch."""
        self.whole, self.window = Meters(self.device), Meters(self.device)

    def close_window(self) -> dict[str, float]:
        """The window's averages as numbers (the device is asked here); its observations move on to the epoch's."""
        values = self.window.averages()
        self.whole.merge(self.window)
        self.window.reset()
        return values

    def state_dict(self) -> dict[str, Any]:
        """Both, as plain numbers."""
        return {"whole": self.whole.state_dict(), "window": self.window.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        self.whole.load_state_dict(state["whole"])
        self.window.load_state_dict(state["window"])


class NonFiniteLoss(TrainingError):
    """A loss was NaN or infinite; `uids` are the samples of the first such micro-batch (of each process)."""

    def __init__(self, uids: Iterable[str]) -> None:
        self.uids = list(uids)
        super().__init__(
            f"the loss is not finite; first in the batch of {', '.join(self.uids) or '(samples without uid)'}. Try a "
            "smaller learning rate or run.precision=fp32, and look at these samples; the weights of the last "
            f"checkpoint are untouched (process {dist.rank()})"
        )
