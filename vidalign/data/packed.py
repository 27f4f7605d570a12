"""Many Samples in one block of bytes, so that loader workers share them.

150 000 Python objects would be there once per worker: sent to it one by one, or copied page by page when it changes
their reference counts.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from typing import overload

from vidalign.common.sample import Sample
from vidalign.common.shared import SharedBytes

FEW = 1000  # below that a list costs nothing worth saving


class PackedSamples(Sequence[Sample]):
    """A read-only sequence; every access builds the Sample anew (some 20 microseconds)."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        import numpy as np

        lengths = []

        def blocks() -> Iterator[bytes]:
            for sample in samples:
                block = pickle.dumps(sample, protocol=pickle.HIGHEST_PROTOCOL)
                lengths.append(len(block))
                yield block

        self._bytes = SharedBytes(blocks())
        self._ends = np.cumsum(lengths, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        start = int(self._ends[place - 1]) if place else 0
        return pickle.loads(self._bytes.view[start : int(self._ends[place])])


def packed(samples: Sequence[Sample]) -> Sequence[Sample]:
    """The samples themselves when they are few, packed otherwise."""
    return samples if len(samples) < FEW or isinstance(samples, PackedSamples) else PackedSamples(samples)
