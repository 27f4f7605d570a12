"""Released checkpoints of TOPA: {"model": {name: tensor}, "optimizer", "epoch", "scaler", "args"}.

The trained module already has the released names (backbones/video_prompts.py), for Llama-2 and Llama-3 alike; files of
LLaMA-VQA have the same ones.
"""

from __future__ import annotations

from torch import Tensor

from vidalign.backbones.adapter_file import official_checkpoint
from vidalign.backbones.video_prompts import VideoPrompts
from vidalign.checkpoint.fit import require_fit

__all__ = ["load_released", "official_checkpoint"]


def load_released(adapter: VideoPrompts, state: dict[str, Tensor]) -> None:
    """Load completely or raise CheckpointError listing every misfit.

    Changed: the official code loads non-strictly and says nothing about absent keys; complete files load the same.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in adapter.state_dict().items()}
    require_fit(wanted, state, where="the checkpoint")
    adapter.load_state_dict(state, strict=True)
