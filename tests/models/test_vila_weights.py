"""Pretrained parts: Hugging Face's InstructBLIP and BLIP-2, LAVIS' and EVA's files; each complete or an error."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_vila import batch_of, config_of, model_of
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
)

from vidalign.backbones import flan_t5
from vidalign.common.errors import CheckpointError
from vidalign.media.transforms import normalize_clip
from vidalign.models.vila.config import WeightsConfig
from vidalign.models.vila.model import ViLA
from vidalign.models.vila.sevila import SeViLA
from vidalign.models.vila.sizes import SIZES

DIMS = SIZES["tiny"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders as transformers writes them, and the models in them."""
    root, found = tmp_path_factory.mktemp("hf"), {}
    vision = {
        "hidden_size": DIMS.vision_dim,
        "intermediate_size": int(DIMS.vision_dim * DIMS.vision_mlp_ratio),
        "num_hidden_layers": DIMS.vision_depth,
        "num_attention_heads": DIMS.vision_heads,
        "image_size": DIMS.image_px,
        "patch_size": DIMS.patch_px,
        "attention_dropout": 0.0,
    }
    qformer = {
        "hidden_size": DIMS.qformer_dim,
        "num_hidden_layers": DIMS.qformer_depth,
        "num_attention_heads": DIMS.qformer_heads,
        "intermediate_size": DIMS.qformer_hidden,
        "encoder_hidden_size": DIMS.vision_dim,
        "vocab_size": DIMS.qformer_vocab,
        "max_position_embeddings": DIMS.qformer_positions,
        "cross_attention_frequency": 2,
    }
    text = {"model_type": "t5", **DIMS.t5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
    kinds = {
        "instructblip": (InstructBlipConfig, InstructBlipForConditionalGeneration),
        "blip2": (Blip2Config, Blip2ForConditionalGeneration),
    }
    for name, (config, cls) in kinds.items():
        torch.manual_seed(3)
        hf = cls(
            config(vision_config=vision, qformer_config=qformer, text_config=text, num_query_tokens=DIMS.num_queries)
        ).eval()
        with torch.no_grad():
            hf.query_tokens.normal_() if hasattr(hf, "query_tokens") else hf.model.query_tokens.normal_()
            for key, value in hf.named_parameters():
                if key.endswith("qkv.bias"):
                    value.normal_(std=0.1)
                    value.chunk(3)[1].zero_()
                elif "norm" in key.lower() or key.endswith("class_embedding"):
                    value.add_(torch.randn_like(value) * 0.1)
        hf.save_pretrained(root / name)
        # The released folders have a head of their own, which transformers would not save for a made-up config.
        state = load_file(root / name / "model.safetensors")
        stem = next(key for key in state if key.endswith("shared.weight")).removesuffix("shared.weight")
        state[f"{stem}lm_head.weight"] = torch.randn_like(state[f"{stem}shared.weight"])
        save_file(state, root / name / "model.safetensors")
        found[name] = (root / name, hf)
    return found


def hf_config(arch, folder, **more):
    return config_of(arch, weights=WeightsConfig(format="hf", folder=str(folder)), **more)


def test_instructblip_folder_gives_the_same_visual_tokens(folders):
    folder, hf = folders["instructblip"]
    model = ViLA.from_config(hf_config("vila_ori", folder, frames=1)).eval()
    batch = batch_of(frames=1)
    inner = hf.model if hasattr(hf, "model") else hf
    with torch.no_grad():
        ours = model.tokens(model.features(batch), batch)[:, 0]
        pixels = normalize_clip(batch["video"][:, 0])
        # transformers normalises with another eps after the last block.
        inner.vision_model.post_layernorm.eps = model.ln_vision.eps
        seen = inner.vision_model(pixel_values=pixels).last_hidden_state
        queries = inner.query_tokens.expand(len(pixels), -1, -1)
        mask = torch.cat([torch.ones(queries.shape[:2]), batch["question_mask"]], dim=1).long()
        hidden = inner.qformer(
            input_ids=batch["question_ids"],
            attention_mask=mask,
            query_embeds=queries,
            encoder_hidden_states=seen,
        ).last_hidden_state[:, : queries.shape[1]]
        theirs = inner.language_projection(hidden)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_hugging_face_head_is_loaded_and_not_tied(folders):
    folder, _ = folders["instructblip"]
    model = ViLA.from_config(hf_config("vila", folder))
    stored = {name.split("language_model.")[-1]: v for name, v in load_file(folder / "model.safetensors").items()}
    head = stored.get("lm_head.weight")
    assert head is not None and torch.equal(model.t5_model.lm_head.weight, head)
    assert not flan_t5.is_tied(model.t5_model)
    assert torch.equal(model.t5_proj_T.weight, model.t5_proj.weight)


def test_blip2_becomes_both_sides_of_sevila(folders):
    folder, _ = folders["blip2"]
    model = SeViLA.from_config(hf_config("sevila", folder))
    for name, value in model.Qformer.state_dict().items():
        assert torch.equal(value, model.Qformer_loc.state_dict()[name]), name
    with pytest.raises(CheckpointError, match=r"missing: Qformer\.bert\.embeddings\.word_embeddings"):
        ViLA.from_config(hf_config("vila_ori", folder))


@pytest.fixture
def files(tmp_path):
    """eva_vit_g.pth, FLAN-T5's folder, and LAVIS' trimmed file of one tiny model."""
    model = model_of("vila_ori")
    vision = dict(model.visual_encoder.state_dict())
    grid = DIMS.image_px // DIMS.patch_px
    block = {name: value for name, value in vision.items() if name.startswith("blocks.0.")}
    extra = {name.replace("blocks.0.", f"blocks.{DIMS.vision_depth}."): value for name, value in block.items()}
    larger = torch.randn(1, 1 + (grid + 2) ** 2, DIMS.vision_dim)
    torch.save(vision | extra | {"norm.weight": torch.ones(1), "pos_embed": larger}, tmp_path / "eva.pth")
    with torch.no_grad():
        model.t5_model.lm_head.weight.add_(1.0)
    model.t5_model.save_pretrained(tmp_path / "t5")
    torch.save({"model": model.export_state()}, tmp_path / "trimmed.pth")
    return tmp_path, model


def test_lavis_and_eva_files(files):
    folder, source = files
    weights = {"vision": str(folder / "eva.pth"), "t5": str(folder / "t5"), "start": str(folder / "trimmed.pth")}
    model = ViLA.from_config(config_of("vila", weights=WeightsConfig(**weights)))
    assert torch.equal(model.t5_model.lm_head.weight, source.t5_model.lm_head.weight)
    assert not flan_t5.is_tied(model.t5_model)
    assert torch.equal(model.Qformer.state_dict()["bert.embeddings.word_embeddings.weight"],
                       source.Qformer.state_dict()["bert.embeddings.word_embeddings.weight"])  # fmt: skip
    assert model.visual_encoder.pos_embed.shape == source.visual_encoder.pos_embed.shape
    lora = ViLA.from_config(config_of("vila_lora", weights=WeightsConfig(**weights)))
    assert not flan_t5.is_tied(lora.t5_model)
    assert torch.equal(lora.t5_model.get_base_model().lm_head.weight, source.t5_model.lm_head.weight)
    state = torch.load(folder / "eva.pth", weights_only=True)
    del state["blocks.1.attn.q_bias"]
    torch.save(state, folder / "eva.pth")
    with pytest.raises(CheckpointError, match=r"missing: blocks\.1\.attn\.q_bias"):
        ViLA.from_config(config_of("vila", weights=WeightsConfig(**weights)))


def test_loading_a_t5_of_another_kind_is_an_error(tmp_path):
    from transformers import T5Config, T5ForConditionalGeneration

    T5ForConditionalGeneration(T5Config(**DIMS.t5)).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="not a FLAN-T5"):
        flan_t5.load_flan_t5(tmp_path, dtype=torch.float32)
