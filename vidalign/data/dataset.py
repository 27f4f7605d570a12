"""SampleDataset: one Sample -> its media -> the processor's item. Runs inside loader workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from vidalign.common.errors import MediaError, UserError
from vidalign.common.rng import draw_seed
from vidalign.common.sample import Sample
from vidalign.data.packed import packed

if TYPE_CHECKING:
    from vidalign.media.load import LoadedMedia


@dataclass(frozen=True)
class Failure:
    """A Sample whose media cannot be used; `reason` goes into its prediction record."""

    uid: str
    reason: str


@dataclass(frozen=True)
class Stop:
    """A user's mistake found in a worker; the loader raises it in the main process, without the worker's traceback."""

    error: UserError


@dataclass(frozen=True)
class Loaded:
    """A processor's item and the media loader's note about unusual media, None where there is none."""

    item: dict[str, Any]
    uid: str
    note: str | None = None
    kept_frames: tuple[dict[str, float], ...] = ()


class _Loader(Protocol):
    def load(self, sample: Sample, *, epoch: int = 0) -> LoadedMedia: ...

    def place(self, sample: Sample) -> str: ...


class _Processor(Protocol):
    def __call__(self, sample: Sample, media: Any, *, epoch: int = 0) -> dict[str, Any]: ...

    def collate(self, items: list[dict[str, Any]]) -> dict[str, Any]: ...


def repeated_share(samples: Sequence[Sample], share: float) -> list[Sample]:
    """As many samples as there are, taken from the first `share` of them over and over (TOPA's data-ratio runs)."""
    if share >= 1.0:
        return list(samples)
    kept = max(int(share * len(samples)), 1)
    return [samples[index % kept] for index in range(len(samples))]


class SampleDataset:
    """Samples by (index, epoch). The epoch only names random draws, so items depend on no worker, rank or restart.

    Nothing is opened before the first item, so that readers live in the worker that uses them. With `option_seed` the
    options of a question come in another order at every visit.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        processor: _Processor,
        media_loader: _Loader,
        *,
        option_seed: int | None = None,
    ) -> None:
        self.samples = packed(samples)
        self.processor = processor
        self.media_loader = media_loader
        self.option_seed = option_seed

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: tuple[int, int]) -> Loaded | Failure | Stop:
        """The item, or Failure when the media cannot be used, or Stop for a mistake that must end the run."""
        index, epoch = key
        sample = self.samples[index]
        if self.option_seed is not None:
            sample = mixed_options(sample, seed=self.option_seed, epoch=epoch)
        try:
            media = self.media_loader.load(sample, epoch=epoch)
            more = {"frames": media.kept_frames} if getattr(self.processor, "needs_times", False) else {}
            more |= {"seconds": media.seconds} if getattr(self.processor, "wants_seconds", False) else {}
            item = self.processor(sample, media.tensor, epoch=epoch, **more)
        except MediaError as error:
            return Failure(sample.uid, str(error))
        except UserError as error:
            return Stop(error)
        except Exception as error:
            error.add_note(f"while preparing sample {sample.uid}")
            raise
        return Loaded(item, sample.uid, media.note, media.kept_frames)

    def where(self, index: int) -> str:
        """The sample's uid and the place of its media, for people."""
        sample = self.samples[index]
        return f"{sample.uid} ({self.media_loader.place(sample)})"

    def collate(self, entries: Sequence[Loaded | Failure | Stop]) -> dict[str, Any] | Stop:
        """{"batch": the processor's batch or None when all failed, "failures": [...], "notes": {uid: text}, ...}.

        "uids" lists every sample of the batch in order, failed ones too; "kept_frames" maps uid to the frames used.
        """
        stop = next((entry for entry in entries if isinstance(entry, Stop)), None)
        if stop is not None:
            return stop
        loaded = [entry for entry in entries if isinstance(entry, Loaded)]
        return {
            "batch": self.processor.collate([entry.item for entry in loaded]) if loaded else None,
            "uids": [entry.uid for entry in entries],
            "failures": [entry for entry in entries if isinstance(entry, Failure)],
            "notes": {entry.uid: entry.note for entry in loaded if entry.note is not None},
            "kept_frames": {entry.uid: entry.kept_frames for entry in loaded if entry.kept_frames},
        }


def mixed_options(sample: Sample, *, seed: int, epoch: int) -> Sample:
    """The sample with its options in an order drawn from (seed, epoch, uid); the answer's index follows them."""
    import numpy as np

    rng = np.random.default_rng(draw_seed(seed, epoch, sample.uid, "option order"))
    order = [int(i) for i in rng.permutation(len(sample.options))]
    answer = None if sample.answer_idx is None else order.index(sample.answer_idx)
    return replace(sample, options=tuple(sample.options[i] for i in order), answer_idx=answer)
