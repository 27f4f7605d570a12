"""CLIP preprocessing: equal to torchvision's classes at odd sizes; the mismatched torchvision is explained."""

import sys

import pytest
import torch

from vidalign.common.errors import ConfigError
from vidalign.media import transforms


def random_frames(height, width, count=2):
    generator = torch.Generator().manual_seed(height * width)
    return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(("height", "width"), [(240, 426), (568, 320), (51, 37), (224, 224), (33, 300)])
def test_clip_eval_equals_the_class_pipeline(height, width):
    from torchvision.transforms import v2

    frames = random_frames(height, width)
    pipeline = v2.Compose(
        [
            v2.Resize(224, interpolation=v2.InterpolationMode.BICUBIC, antialias=True),
            v2.CenterCrop(224),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(transforms.CLIP_MEAN, transforms.CLIP_STD),
        ]
    )
    got = transforms.clip_eval(frames)
    assert got.shape == (2, 3, 224, 224) and got.dtype == torch.float32
    torch.testing.assert_close(got, pipeline(frames.movedim(-1, 1)), atol=1e-5, rtol=0)


def test_a_grey_frame_by_hand():
    frames = torch.full((1, 30, 70, 3), 128, dtype=torch.uint8)
    got = transforms.transform_by_name("clip_eval", image_px=16)(frames)
    assert got.shape == (1, 3, 16, 16)
    for channel, (mean, std) in enumerate(zip(transforms.CLIP_MEAN, transforms.CLIP_STD, strict=True)):
        assert got[0, channel].eq(got[0, channel, 0, 0]).all()
        assert got[0, channel, 0, 0].item() == pytest.approx((128 / 255 - mean) / std, abs=1e-5)


def test_wrong_frames_are_refused():
    with pytest.raises(ValueError, match=r"uint8 \(T, H, W, 3\)"):
        transforms.clip_eval(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"uint8 \(T, H, W, 3\)"):
        transforms.clip_eval(torch.zeros(1, 8, 8, 3))


def test_unknown_transform():
    with pytest.raises(ConfigError, match="Did you mean 'clip_eval'"):
        transforms.transform_by_name("clip_evl", image_px=224)


class _Mismatched:
    """What `import torchvision` does beside a torch that was built for another release."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist")


def test_mismatched_torchvision_is_explained(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Mismatched(), *sys.meta_path])
    with pytest.raises(ConfigError, match="operator torchvision::nms does not exist.*same index") as caught:
        transforms.clip_eval(random_frames(20, 20))
    assert f"torch {torch.__version__.split('+')[0]}" in str(caught.value)
