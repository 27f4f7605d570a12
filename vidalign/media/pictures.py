"""Single pictures as videos of one frame, folders of numbered pictures as videos."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from vidalign.common.errors import MediaError

if TYPE_CHECKING:
    from torch import Tensor

# TVQA's frames, and so MVBench's episodic reasoning: three a second, 00001.jpg the first.
FOLDER_FPS = 3.0
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


class PictureFolder:
    """A folder of pictures in the order of their names, used like a VideoReader. `first_number`: the first one's."""

    first_number = 1

    def __init__(self, path: Path, *, fps: float = FOLDER_FPS) -> None:
        self.path, self.fps = path, fps
        if not self._files:
            raise MediaError(f"{path.name} is a folder, not a video file")

    def __enter__(self) -> PictureFolder:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def num_frames(self) -> int:
        """Pictures in it."""
        return len(self._files)

    @property
    def duration_seconds(self) -> float:
        """At its rate."""
        return self.num_frames / self.fps

    def frames(self, indices: Sequence[int]) -> Tensor:
        """uint8 (n, H, W, 3) by place, from 0; MediaError for one that cannot be read or is of another size."""
        import torch

        made = [read_picture(self._files[index]) for index in indices]
        if len({one.shape for one in made}) > 1:
            raise MediaError(f"the pictures in {self.path.name} are not of one size")
        return torch.cat(made)

    def close(self) -> None:
        """Nothing is held open."""

    @cached_property
    def _files(self) -> list[Path]:
        try:
            return sorted(one for one in self.path.iterdir() if one.suffix.lower() in PICTURE_SUFFIXES)
        except OSError as error:
            raise MediaError(f"{self.path.name}: {error.strerror or error}") from error
