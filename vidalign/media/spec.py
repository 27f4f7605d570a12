"""MediaSpec: what a model wants to see of a Sample's video."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class MediaSpec:
    """Declared by a model, carried out by media/load.py inside the loader's workers.

    kind: "features" (rows of a precomputed encoder), "frames" (decoded pictures) or "none".
    num_frames: rows or pictures per Sample; fewer are padded with zeros where `pad` is set.
    index_rule: a name of media/sampling.py, e.g. "uniform_floor" (index (j*n)//m); for frames also a timed one.
    feature_dim: width of a feature row, checked against the file.
    image_px, transform: for frames; `transform` is a name of media/transforms.py.
    train_index_rule, train_transform: names of those with random draws, used in training instead; None: none.
    square_px: the decoder itself resizes every picture to a square of so many pixels.
    repeat_last: frames that are lacking are copies of the last one, not zeros.
    optional: Samples without media are allowed (text among videos).
    clips: of a Sample with `parts`, so many neighbouring files are joined in time, each with the same share of frames.
    """

    kind: str
    num_frames: int
    index_rule: str = "uniform_floor"
    pad: bool = True
    feature_dim: int | None = None
    image_px: int | None = None
    transform: str | None = None
    train_index_rule: str | None = None
    train_transform: str | None = None
    square_px: int | None = None
    repeat_last: bool = False
    optional: bool = False
    clips: int | None = None


@dataclass(frozen=True, kw_only=True)
class StoredFrames:
    """What a model with a frozen encoder takes from the store instead of frames (runners/frame_store.py).

    name, key: of the encoder, the key follows its weights. frames: stored per clip. dim: numbers of a frame's output.
    encode: uint8 (T, 3, px, px) -> (T, dim). max_gib: what may be written.
    """

    name: str
    key: str
    frames: int
    dim: int
    encode: Callable[[Tensor], Tensor]
    max_gib: float
