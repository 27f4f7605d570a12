"""Image preprocessing of decoded frames, by name (MediaSpec.transform).

Every transform takes uint8 (T, H, W, 3) of any size and returns float32 (T, 3, px, px).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import metadata
from types import ModuleType
from typing import TYPE_CHECKING

from vidalign.common.errors import ConfigError, unknown

if TYPE_CHECKING:
    from torch import Tensor

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

FrameTransform = Callable[["Tensor"], "Tensor"]


def clip_eval(frames_THWC: Tensor, *, image_px: int = 224) -> Tensor:
    """CLIP's evaluation transform: short side to `image_px` (bicubic, antialiased), centre crop, /255, normalise.

    Source: OpenAI CLIP `_transform`; spec bovila, section 4.7.
    """
    # Changed: the official feature files were resized by ffmpeg's scaler, which rounds differently; published numbers
    # are reproduced with those files, this transform is for new features.
    return normalize_clip(resize_crop(frames_THWC, image_px=image_px))


def normalize_clip(frames_TCHW: Tensor) -> Tensor:
    """uint8 (T, 3, H, W) -> float32, /255, CLIP's mean and deviation per channel; on the tensor's own device."""
    scaled = frames_TCHW.float() / 255
    mean, std = (scaled.new_tensor(values).view(3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    return (scaled - mean) / std


def resize_crop(frames_THWC: Tensor, *, image_px: int = 224) -> Tensor:
    """uint8 (T, H, W, 3) -> uint8 (T, 3, px, px): the part of `clip_eval` before normalisation."""
    from torch import uint8

    if frames_THWC.ndim != 4 or frames_THWC.shape[-1] != 3 or frames_THWC.dtype != uint8:
        raise ValueError(f"frames must be uint8 (T, H, W, 3), not {frames_THWC.dtype} {tuple(frames_THWC.shape)}")
    v2 = torchvision_v2()
    frames_TCHW = frames_THWC.movedim(-1, 1)
    bicubic = v2.InterpolationMode.BICUBIC
    resized = v2.functional.resize(frames_TCHW, [image_px], interpolation=bicubic, antialias=True)
    return v2.functional.center_crop(resized, [image_px, image_px])


TRANSFORMS: dict[str, Callable[..., Tensor]] = {"clip_eval": clip_eval}


def transform_by_name(name: str | None, *, image_px: int | None) -> FrameTransform:
    """The transform called `name` for pictures of `image_px`; ConfigError for an unknown name."""
    if name not in TRANSFORMS:
        raise ConfigError(unknown("transform", name, TRANSFORMS))
    return partial(TRANSFORMS[name], image_px=image_px or 224)


def torchvision_v2() -> ModuleType:
    """torchvision.transforms.v2; ConfigError that explains the mismatched pair of torch and torchvision."""
    try:
        from torchvision.transforms import v2
    except (ImportError, RuntimeError, OSError, AttributeError) as error:
        versions = ", ".join(f"{name} {_version(name)}" for name in ("torch", "torchvision"))
        raise ConfigError(
            f"torchvision cannot be imported ({error}); installed: {versions}. 'operator torchvision::nms does not "
            "exist' means that the two were built for different releases or different CUDA versions (a CPU torch "
            "beside a CUDA torchvision). Remedy: install both from the same index in one command, with the versions "
            "of constraints.txt: pip install --force-reinstall torch torchvision -c constraints.txt"
        ) from error
    return v2


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
