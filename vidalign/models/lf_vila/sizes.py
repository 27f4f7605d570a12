"""Sizes of LF-VILA by name, as plain numbers (imports nothing heavy). Specification lf_vila, sections 2.1 and 2.3."""

from __future__ import annotations

from typing import Any

SIZES: dict[str, dict[str, Any]] = {
    "base": {
        "num_frames": 32,
        "image_hw": (192, 320),
        "video": {
            "patch_size": (1, 8, 8),
            "embed_dim": 128,
            "depths": (2, 2, 14, 2, 2, 2),
            "downsample_stages": (0, 1, 4),
            "stages": (0, 1, 2, 2, 2, 3),
            "num_heads": (4, 8, 16, 16, 16, 32),
            "window_size": ((2, 3, 5), (4, 3, 5), (8, 3, 5), (16, 3, 5), (16, 3, 5), (32, 3, 5)),
            "local_window": 8,
        },
        "bert": {
            "hidden_size": 1024,
            "num_attention_heads": 16,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "vocab_size": 30522,
        },
        "local_layers": 8,
        "stage1_layers": 12,
    },
    # For tests and the drawn benchmark: everything is there, an epoch takes seconds on a CPU.
    "tiny": {
        "num_frames": 8,
        "image_hw": (64, 96),
        "video": {
            "patch_size": (1, 4, 4),
            "embed_dim": 16,
            "depths": (1, 1, 2, 1, 1, 1),
            "downsample_stages": (0, 1, 4),
            "stages": (0, 1, 2, 2, 2, 3),
            "num_heads": (1, 2, 4, 4, 4, 8),
            "window_size": ((1, 2, 3), (2, 2, 3), (2, 2, 3), (4, 2, 3), (4, 2, 3), (8, 2, 3)),
            "local_window": 2,
        },
        "bert": {
            "hidden_size": 128,
            "num_attention_heads": 4,
            "intermediate_size": 256,
            "num_hidden_layers": 6,
            "vocab_size": 2048,
        },
        "local_layers": 2,
        "stage1_layers": 4,
    },
    # For the drawn paragraphs alone (configs/lf_vila/shapes_paragraphs_*.yaml): trained on a CPU in minutes.
    "shapes": {
        "num_frames": 8,
        "image_hw": (32, 48),
        "video": {
            "patch_size": (1, 8, 8),
            "embed_dim": 32,
            "depths": (1, 1, 2),
            "downsample_stages": (0,),
            "stages": (0, 1, 1),
            "num_heads": (2, 4, 4),
            "window_size": ((2, 4, 6), (4, 2, 3), (8, 2, 3)),
            "local_window": 2,
        },
        "bert": {
            "hidden_size": 64,
            "num_attention_heads": 4,
            "intermediate_size": 256,
            "num_hidden_layers": 5,
            "vocab_size": 128,
        },
        "local_layers": 1,
        "stage1_layers": 3,
    },
}
