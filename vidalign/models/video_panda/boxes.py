"""The part of a letter-boxed frame that holds the picture, as a box of patches, and the tokens that come of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

# Kept: a frame without a picture (padding) keeps its top left corner of so many patches. [stab_full_portrait_padded]
_EMPTY_SIDE = 16


@dataclass(frozen=True)
class Box:
    """Rows top..bottom-1 and columns left..right-1 of the patch grid; `empty`: a padded frame without a picture."""

    top: int
    left: int
    bottom: int
    right: int
    empty: bool = False

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w): tokens after 2x2 patches were merged."""
        return (self.bottom - self.top) // 2, (self.right - self.left) // 2


def halved(box: Box) -> Box:
    """The same part of a grid of half as many patches."""
    return Box(box.top // 2, box.left // 2, box.bottom // 2, box.right // 2, box.empty)


def token_count(box: Box, *, context: bool = True, row_tokens: bool = True) -> int:
    """Tokens of a frame: a context token, h rows of w patch tokens, each row with its end token."""
    height, width = box.grid
    return int(context) + height * (width + int(row_tokens))


def empty_box(side: int) -> Box:
    """Of a padded frame in a grid of side x side patches."""
    return Box(0, 0, min(_EMPTY_SIDE, side), min(_EMPTY_SIDE, side), empty=True)


def boxes_of(mask_FHW: Tensor, *, patch_px: int) -> list[Box]:
    """Validity masks (F, H, W) in pixels, 1 inside the picture -> boxes, from the first to the last marked patch.

    Synchronises with the device; the processor knows its boxes and need not ask.
    """
    import torch.nn.functional as F

    marked_Fhw = F.avg_pool2d(mask_FHW[:, None].float(), patch_px)[:, 0] != 0
    boxes = []
    for grid in marked_Fhw:
        places = grid.nonzero()
        if not len(places):
            boxes.append(empty_box(grid.shape[0]))
            continue
        (top, left), (bottom, right) = places[0].tolist(), places[-1].tolist()
        boxes.append(Box(top, left, bottom + 1, right + 1))
    return boxes
