"""Image preprocessing of decoded frames, by name (MediaSpec.transform).

Every transform takes uint8 (T, H, W, 3) of any size and returns float32 (T, 3, px, px); `as_decoded` and `untouched`
leave the bytes.
"""

from __future__ import annotations

import math
import random
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
    return scaled.sub_(mean).div_(std)  # in place: fresh memory costs more than the arithmetic


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


def as_decoded(frames_THWC: Tensor, *, image_px: int = 224) -> Tensor:
    """uint8 (T, px, px, 3) of a decoder that resizes -> uint8 (T, 3, px, px); other sizes are resized here.

    The model normalises on its own device (`normalize_clip`): a quarter of the bytes travel. Source: LAVIS'
    `blip_video_eval` (spec vila, section 4.4).
    """
    frames_TCHW = frames_THWC.movedim(-1, 1)
    if tuple(frames_TCHW.shape[-2:]) == (image_px, image_px):
        return frames_TCHW.contiguous()
    v2 = torchvision_v2()
    bicubic = v2.InterpolationMode.BICUBIC
    return v2.functional.resize(frames_TCHW, [image_px, image_px], interpolation=bicubic, antialias=True)


def untouched(frames_THWC: Tensor, *, image_px: int = 224) -> Tensor:
    """The frames as they are, uint8 (T, H, W, 3): for processors that resize themselves."""
    return frames_THWC


Box = tuple[int, int, int, int]  # top, left, height, width in pixels


def random_crop(frames_THWC: Tensor, *, image_px: int = 224, draw: random.Random) -> Tensor:
    """`as_decoded`, then one random box of all frames, resized back. Source: LAVIS' `blip2_video_train`."""
    frames_TCHW = as_decoded(frames_THWC, image_px=image_px)
    box = crop_box(draw, image_px)
    return to_bytes(crop_resize(frames_TCHW, box, image_px=image_px))


def official_random_crop(frames_THWC: Tensor, *, image_px: int = 224, draw: random.Random) -> Tensor:
    """`random_crop` with the official overflow of bytes."""
    frames_TCHW = as_decoded(frames_THWC, image_px=image_px)
    return to_bytes(crop_resize(frames_TCHW, crop_box(draw, image_px), image_px=image_px), wrap=True)


def crop_resize(frames_TCHW: Tensor, box: Box, *, image_px: int) -> Tensor:
    """The box, resized to a square by plain bicubic interpolation: float32, with overshoot below 0 and above 255."""
    from torch.nn.functional import interpolate

    top, left, height, width = box
    part = frames_TCHW[..., top : top + height, left : left + width].float()
    return interpolate(part, size=(image_px, image_px), mode="bicubic", align_corners=False)


def to_bytes(frames_TCHW: Tensor, *, wrap: bool = False) -> Tensor:
    """float -> uint8, towards zero. `wrap`: what lies outside 0..255 comes in again at the other end, as officially.

    Changed: without `wrap` it is cut to 0..255; that changes pixels at hard edges only. [video_transform]
    """
    import torch

    whole = frames_TCHW.trunc().to(torch.int32)
    return (whole % 256 if wrap else whole.clamp(0, 255)).to(torch.uint8)


def crop_box(
    draw: random.Random,
    image_px: int,
    *,
    scale: tuple[float, float] = (0.5, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Box:
    """A box of a random share of a square picture, with a random width / height; torchvision's RandomResizedCrop."""
    area = image_px * image_px
    for _ in range(10):
        target = area * draw.uniform(*scale)
        aspect = math.exp(draw.uniform(math.log(ratio[0]), math.log(ratio[1])))
        width, height = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
        if 0 < width <= image_px and 0 < height <= image_px:
            return draw.randint(0, image_px - height), draw.randint(0, image_px - width), height, width
    return 0, 0, image_px, image_px


TRANSFORMS: dict[str, Callable[..., Tensor]] = {
    "clip_eval": clip_eval,
    "as_decoded": as_decoded,
    "untouched": untouched,
}
RANDOM_TRANSFORMS: dict[str, Callable[..., Tensor]] = {
    "random_crop": random_crop,
    "official_random_crop": official_random_crop,
}


def transform_by_name(name: str | None, *, image_px: int | None, draw: random.Random | None = None) -> FrameTransform:
    """The transform called `name` for pictures of `image_px`; ConfigError for an unknown name.

    draw: where those with random draws take them from; without it they are unknown.
    """
    if draw is not None and name in RANDOM_TRANSFORMS:
        return partial(RANDOM_TRANSFORMS[name], image_px=image_px or 224, draw=draw)
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
