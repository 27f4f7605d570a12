"""What LLaMA-VQA, BoViLA and TOPA train on a frozen LM: prompts, gates, visual projection, temporal embedding.

LLaMA-Adapter (arXiv 2303.16199), LLaMA-VQA (arXiv 2310.15747). The state dict of `VideoPrompts` has the names, shapes
and
order of the released checkpoints: adapter_query.weight (L*A, D), visual_proj.weight (D, E), temporal_emb.weight (F, D),
layers.{i}.attention.gate1 and .gate2 (1, H, 1, 1), or .gate alone for the variant without video bias (LLaMA-3).

Shape letters: B videos, F frames, E width of a visual feature, D width of the LM, R rows, T positions, H heads, L
prompted layers, A prompts per layer.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor, nn

from vidalign.backbones.llm import FrozenCausalLM
from vidalign.backbones.prompt_attention import Prompts
from vidalign.checkpoint.fit import require_fit
from vidalign.common.errors import CheckpointError


class VideoPrompts(nn.Module):
    """Video features (B, F, E) -> visual tokens (B, F, D), and the prompts of every layer.

    `num_layers` layers have gates, the last `num_prompted` have prompts. `video_bias`: gate2 starts at minus this; None
    for the variant with a single gate and no video bias. `temporal_std`: of the temporal embedding's start.
    """

    def __init__(
        self,
        *,
        dim: int,
        num_heads: int,
        num_layers: int,
        num_prompted: int,
        prompt_length: int,
        num_frames: int,
        visual_dim: int,
        video_bias: float | None,
        temporal_std: float = 1.0,
    ) -> None:
        super().__init__()
        self.num_frames, self.num_prompted, self.has_video_bias = num_frames, num_prompted, video_bias is not None
        self.adapter_query = nn.Embedding(prompt_length * num_prompted, dim)
        self.visual_proj = nn.Linear(visual_dim, dim, bias=False)
        self.temporal_emb = nn.Embedding(num_frames, dim)
        with torch.no_grad():
            self.temporal_emb.weight.mul_(temporal_std)
        self.layers = nn.ModuleList(_LayerGates(num_heads, video_bias) for _ in range(num_layers))

    def start_from(self, path: str | Path) -> None:
        """Take start values of visual_proj.weight and temporal_emb.weight from a file; CheckpointError on a misfit."""
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise CheckpointError(f"{path} cannot be read as weights: {str(error).splitlines()[0]}") from error
        wanted = {"visual_proj.weight": self.visual_proj.weight, "temporal_emb.weight": self.temporal_emb.weight}
        require_fit({name: tuple(w.shape) for name, w in wanted.items()}, state, where=str(path))
        with torch.no_grad():
            for name, weight in wanted.items():
                weight.copy_(state[name])

    def prompts(self, *, dtype: torch.dtype, video_start_R: Tensor | None) -> Prompts:
        """The prompts as one pass of the LM sees them; the i-th prompted layer gets the i-th slice of the table.

        video_start_R: first column of each row's video block, -1 (or None for all) where the row has no video bias.
        """
        gates = [layer.attention for layer in self.layers][-self.num_prompted :]
        return Prompts(
            prompt_LAD=rearrange(self.adapter_query.weight, "(l a) d -> l a d", l=self.num_prompted).to(dtype),
            gates=[gate["gate1"] if self.has_video_bias else gate["gate"] for gate in gates],
            video_gates=[gate["gate2"] for gate in gates] if self.has_video_bias else None,
            video_start_B=video_start_R if self.has_video_bias else None,
            num_frames=self.num_frames,
        )

    def project(self, video_BFE: Tensor) -> Tensor:
        """Features in the LM's width (B, F, D), float32, without the temporal embedding."""
        return self.visual_proj(video_BFE.to(self.visual_proj.weight.dtype))

    def tokens(self, projected_BFD: Tensor, *, dtype: torch.dtype) -> Tensor:
        """Visual tokens (B, F, D): projection plus temporal embedding, rounded once to the LM's dtype.

        Rows that are padding get the temporal embedding too and are attended to, as in the official code.
        """
        return (projected_BFD + self.temporal_emb.weight).to(dtype)


class _LayerGates(nn.Module):
    """gate1 starts at 0 (the prompts are silent at first), gate2 at minus the video bias."""

    def __init__(self, num_heads: int, video_bias: float | None) -> None:
        super().__init__()
        zeros = torch.zeros(1, num_heads, 1, 1)
        if video_bias is None:
            self.attention = nn.ParameterDict({"gate": zeros})
        else:
            self.attention = nn.ParameterDict({"gate1": zeros, "gate2": torch.full_like(zeros, -video_bias)})


def embed_with_video(llm: FrozenCausalLM, ids_RT: Tensor, tokens_RFD: Tensor, video_start_R: Tensor) -> Tensor:
    """Token embeddings (R, T, D) with the visual tokens written over the F columns from `video_start_R` on."""
    columns_RF = video_start_R[:, None] + torch.arange(tokens_RFD.shape[1], device=ids_RT.device)
    index_RFD = columns_RF[..., None].expand_as(tokens_RFD)
    return llm.embed(ids_RT).scatter(1, index_RFD, tokens_RFD)
