"""Single pictures as videos of one frame."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vidalign.common.errors import MediaError

if TYPE_CHECKING:
    from torch import Tensor

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


def read_picture(path: Path) -> Tensor:
    """uint8 (1, H, W, 3), RGB, upright; MediaError(reason) for what is no picture."""
    import numpy as np
    import torch
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
            return torch.from_numpy(np.array(upright))[None]
    except FileNotFoundError as error:
        raise MediaError(f"{path.name}: no such file") from error
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise MediaError(f"{path.name} is no picture that can be read ({type(error).__name__})") from error
