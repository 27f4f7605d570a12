"""CLIP frame encoder: tiny tower with fixed weights; folders load completely or not at all."""

import pytest
import torch

from vidalign.backbones.clip import folder_key, load_clip_vision, tiny_clip_vision
from vidalign.common.errors import CheckpointError, ConfigError


@pytest.fixture(scope="module")
def tiny():
    return tiny_clip_vision(24)


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "vision"
    tiny.model.save_pretrained(path)
    return path


def frames(px=64):
    return torch.randn(3, 3, px, px, generator=torch.Generator().manual_seed(5))


def test_tiny_tower_is_the_same_everywhere(tiny):
    rows = tiny(frames())
    assert rows.shape == (3, 24) and rows.dtype == torch.float32 and tiny.dim == 24 and tiny.image_px == 64
    assert torch.equal(rows, tiny_clip_vision(24)(frames()))
    # Written down once: another library version must give the same weights and outputs.
    weights = sum(parameter.double().abs().sum().item() for parameter in tiny.model.parameters())
    assert weights == pytest.approx(EXPECTED_WEIGHTS, rel=1e-6)
    assert rows[0, :4].tolist() == pytest.approx(EXPECTED_ROW, abs=1e-4)
    assert not any(parameter.requires_grad for parameter in tiny.model.parameters())


def test_frames_are_told_apart(tiny):
    rows = tiny(frames())
    assert (rows[0] - rows[1]).abs().mean() > 0.05


def test_folder_round_trip(tiny, folder):
    loaded = load_clip_vision(str(folder))
    assert (loaded.dim, loaded.image_px, loaded.name) == (24, 64, "vision")
    torch.testing.assert_close(loaded(frames()), tiny(frames()))


def test_half_file_becomes_float32_unless_asked(tiny, tmp_path):
    from transformers import CLIPVisionModelWithProjection

    CLIPVisionModelWithProjection(tiny.model.config).half().save_pretrained(tmp_path)
    assert {p.dtype for p in load_clip_vision(str(tmp_path)).model.parameters()} == {torch.float32}
    half = load_clip_vision(str(tmp_path), dtype=torch.bfloat16)
    assert {p.dtype for p in half.model.parameters()} == {torch.bfloat16}
    assert half(frames()).dtype == torch.float32


def test_whole_clip_folder_gives_its_image_features(tmp_path):
    from transformers import CLIPConfig, CLIPModel

    layers = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = {**layers, "image_size": 32, "patch_size": 8, "projection_dim": 12}
    config = CLIPConfig(text_config={**layers, "vocab_size": 50}, vision_config=vision, projection_dim=12)
    torch.manual_seed(0)
    whole = CLIPModel(config).eval()
    whole.save_pretrained(tmp_path)
    encoder = load_clip_vision(str(tmp_path))
    pixels = frames(32)
    with torch.inference_mode():
        expected = whole.visual_projection(whole.vision_model(pixels).pooler_output)
    torch.testing.assert_close(encoder(pixels), expected, atol=1e-5, rtol=1e-5)


def test_tower_without_projection_is_refused(tiny, tmp_path):
    from transformers import CLIPVisionModel

    CLIPVisionModel(tiny.model.config).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"1 weights are not in the file, the first is visual_projection\.weight"):
        load_clip_vision(str(tmp_path))


def test_what_is_no_clip_folder(tmp_path):
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ConfigError, match="not a folder .or hub name. of a Hugging Face CLIP model"):
            load_clip_vision(str(path))


def test_key_names_the_content(folder, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    assert folder_key(copy) == folder_key(folder)
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    assert folder_key(copy) != folder_key(folder)
    assert tiny_clip_vision(24).key != tiny_clip_vision(25).key


EXPECTED_WEIGHTS = 3331.989253467102
EXPECTED_ROW = [1.78149, 0.65584, 0.25543, -1.19111]
