"""Many Samples in one block of bytes, so that loader workers share them.

A forked worker that merely reads Python objects changes their reference counts, and with them copies every page: the
memory of 150 000 Samples would be there once per worker. A block of bytes is never written to.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import overload

from vidalign.common.sample import Sample

FEW = 10_000  # below that a list costs nothing worth saving


class PackedSamples(Sequence[Sample]):
    """A read-only sequence; every access builds the Sample anew (some 20 microseconds)."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        import numpy as np

        blocks = [pickle.dumps(sample, protocol=pickle.HIGHEST_PROTOCOL) for sample in samples]
        self._ends = np.cumsum([len(block) for block in blocks], dtype=np.int64)
        self._bytes = np.frombuffer(b"".join(blocks), dtype=np.uint8)

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
        return pickle.loads(self._bytes[start : int(self._ends[place])].data)


def packed(samples: Sequence[Sample]) -> Sequence[Sample]:
    """The samples themselves when they are few, packed otherwise."""
    return samples if len(samples) < FEW or isinstance(samples, PackedSamples) else PackedSamples(samples)
