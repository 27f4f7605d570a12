"""LanguageBind's video encoder: CLIP's vision transformer whose layers first look along time (arXiv 2310.01852).

Attention, MLP, embeddings and layer order are those of transformers' CLIP; temporal attention is added to every layer.
Parameter names are those of `LanguageBind/LanguageBind_Video_merge` below `vision_model`; its text tower is not read.

Shape letters: B frames of all videos, T frames of a group, M tokens of a frame (class token first), C width.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from vidalign.checkpoint.fit import require_fit
from vidalign.checkpoint.load import read_checkpoint
from vidalign.common.errors import CheckpointError

# CLIP ViT-L/14 with temporal attention over 8 frames; `tiny` is ours, for tests.
SIZES: dict[str, dict[str, Any]] = {
    "large": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16},
    "tiny": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4},
}
_NAMES = (
    *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size"),
    *("hidden_act", "layer_norm_eps"),
)


class LanguageBindVideo(nn.Module):
    """Frames (B, 3, P, P) -> patch features (B, M-1, C): what layer `select_layer` puts out, the class token dropped.

    num_frames: frames that the temporal attention spans; B is cut into groups of so many, or of B when it is less.
    Layers above `select_layer` hold weights but are not run. The norm behind the last layer is not applied.
    """

    def __init__(self, *, num_frames: int = 8, select_layer: int = -2, **sizes: Any) -> None:
        super().__init__()
        from transformers import CLIPVisionConfig
        from transformers.models.clip.modeling_clip import CLIPVisionEmbeddings

        config = CLIPVisionConfig(**({"hidden_act": "gelu", "layer_norm_eps": 1e-5} | sizes))
        config._attn_implementation = "sdpa"
        self.config, self.num_frames = config, num_frames
        self.layers_run = range(config.num_hidden_layers + 1)[select_layer]
        self.embeddings = CLIPVisionEmbeddings(config)
        self.pre_layrnorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList(_TemporalLayer(config, num_frames) for _ in range(config.num_hidden_layers))
        self.post_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> LanguageBindVideo:
        """A frozen teacher stays in evaluation mode."""
        return super().train(False)

    @property
    def side(self) -> int:
        """Patches along an edge."""
        return self.config.image_size // self.config.patch_size

    @torch.no_grad()
    def forward(self, frames_B3PP: Tensor, *, clip_frames: int | None = None) -> Tensor:
        """clip_frames: frames of one clip, so that groups never span two; None: one clip.

        Kept: layers regroup by their own number of frames, whatever the chunks are. [model_train_forward]
        """
        return self.tokens(frames_B3PP, clip_frames=clip_frames)[:, 1:]

    @torch.no_grad()
    def tokens(self, frames_B3PP: Tensor, *, clip_frames: int | None = None) -> Tensor:
        """The same with the class token in front (B, M, C)."""
        group = min(self.num_frames, clip_frames or len(frames_B3PP))
        x_BMC = self.pre_layrnorm(self.embeddings(frames_B3PP))
        for layer in self.encoder.layers[: self.layers_run]:
            x_BMC = layer(x_BMC, group)
        return x_BMC


class _TemporalLayer(nn.Module):
    """One layer: temporal attention at every place, then attention inside the frame, then the MLP."""

    def __init__(self, config: Any, num_frames: int) -> None:
        super().__init__()
        from transformers.models.clip.modeling_clip import CLIPMLP, CLIPAttention

        dim, eps = config.hidden_size, config.layer_norm_eps
        self.temporal_embedding = nn.Parameter(torch.zeros(1, num_frames, dim))
        self.self_attn, self.layer_norm1 = CLIPAttention(config), nn.LayerNorm(dim, eps=eps)
        self.mlp, self.layer_norm2 = CLIPMLP(config), nn.LayerNorm(dim, eps=eps)
        self.temporal_attn, self.temporal_layer_norm1 = CLIPAttention(config), nn.LayerNorm(dim, eps=eps)

    def forward(self, x_BMC: Tensor, frames: int) -> Tensor:
        """(B, M, C) -> (B, M, C); the temporal embedding is added in every layer."""
        tokens = x_BMC.shape[1]
        x = rearrange(x_BMC, "(b t) m c -> (b m) t c", t=frames)
        if frames != 1:
            x = x + self.temporal_embedding[:, :frames]
        x = x + self.temporal_attn(self.temporal_layer_norm1(x))[0]
        x = rearrange(x, "(b m) t c -> (b t) m c", m=tokens)
        x = x + self.self_attn(self.layer_norm1(x))[0]
        return x + self.mlp(self.layer_norm2(x))


def load_languagebind(path: Path | str, *, dtype: torch.dtype | None = None) -> LanguageBindVideo:
    """The video encoder of a LanguageBind folder, complete or CheckpointError.

    Read: config.json (its `vision_config`) and the weights in safetensors or torch files, in one file or in shards.
    """
    from vidalign.checkpoint.folder import read_folder

    folder = Path(path)
    teacher = LanguageBindVideo(**config_of(folder)).to(dtype)
    if torch.get_default_device().type == "meta":
        return teacher
    state = {
        name.removeprefix("vision_model."): tensor
        for name, tensor in (read_folder(folder) if folder.is_dir() else read_checkpoint(folder)["model"]).items()
        if name.startswith("vision_model.") and not name.endswith("position_ids")
    }
    wanted = {name: tuple(tensor.shape) for name, tensor in teacher.state_dict().items()}
    require_fit(wanted, state, where=str(path))
    teacher.load_state_dict(state)
    return teacher


def config_of(folder: Path) -> dict[str, Any]:
    """Keyword arguments of LanguageBindVideo from a folder's config.json."""
    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        vision = values.get("vision_config", values)
        sizes = {name: vision[name] for name in _NAMES if name in vision}
        return {"num_frames": vision.get("num_frames", 8), **sizes}
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{folder}: no readable config.json of a LanguageBind model: {error}") from error
