"""Sizes of the whole tower by name: ViT, Q-Former, T5. Imports nothing heavy.

Sources: LAVIS' configs of InstructBLIP FLAN-T5-XL and -XXL; `tiny`, `shapes` and `mid` are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_EVA_G = {"image_px": 224, "patch_px": 14, "vision_dim": 1408, "vision_depth": 39, "vision_heads": 16}


@dataclass(frozen=True, kw_only=True)
class Dims:
    """Everything that decides the shape of a tower. `t5` are fields of transformers' T5Config."""

    image_px: int
    patch_px: int
    vision_dim: int
    vision_depth: int
    vision_heads: int
    t5: Mapping[str, Any]
    vision_mlp_ratio: float = 4.3637
    qformer_dim: int = 768
    qformer_depth: int = 12
    qformer_heads: int = 12
    qformer_hidden: int = 3072
    # bert-base-uncased with one more token; None: no text
    qformer_vocab: int | None = 30523
    qformer_positions: int = 512
    num_queries: int = 32

    @property
    def num_tokens(self) -> int:
        """Tokens of a frame, the class token included."""
        return (self.image_px // self.patch_px) ** 2 + 1


def _t5(d_model: int, d_ff: int, heads: int, layers: int, *, d_kv: int = 64, vocab: int = 32128) -> dict[str, int]:
    sizes = {"vocab_size": vocab, "d_model": d_model, "d_kv": d_kv, "num_heads": heads, "d_ff": d_ff}
    return {**sizes, "num_layers": layers}


SIZES: dict[str, Dims] = {
    "tiny": Dims(
        image_px=32,
        patch_px=8,
        vision_dim=32,
        vision_depth=2,
        vision_heads=4,
        qformer_dim=32,
        qformer_depth=2,
        qformer_heads=4,
        qformer_hidden=64,
        qformer_vocab=1024,
        qformer_positions=128,
        num_queries=4,
        t5=_t5(64, 128, 4, 2, d_kv=16, vocab=1024),
    ),
    # The drawn world's: its base is trained by runners/shapes/vila.py, words are whole pieces of its tokenizers.
    "shapes": Dims(
        image_px=32,
        patch_px=8,
        vision_dim=64,
        vision_depth=3,
        vision_heads=4,
        vision_mlp_ratio=2.0,
        qformer_dim=64,
        qformer_depth=2,
        qformer_heads=4,
        qformer_hidden=128,
        qformer_vocab=256,
        qformer_positions=64,
        num_queries=2,
        t5=_t5(96, 192, 4, 2, d_kv=24, vocab=256) | {"num_decoder_layers": 1},
    ),
    # For speed measurements on a CPU: large enough that the matrices, not Python, take the time.
    "mid": Dims(
        image_px=112,
        patch_px=14,
        vision_dim=192,
        vision_depth=4,
        vision_heads=6,
        qformer_dim=256,
        qformer_depth=4,
        qformer_heads=4,
        qformer_hidden=1024,
        num_queries=32,
        t5=_t5(384, 1024, 6, 4),
    ),
    "flant5xl": Dims(**_EVA_G, t5=_t5(2048, 5120, 32, 24)),
    "flant5xxl": Dims(**_EVA_G, t5=_t5(4096, 10240, 64, 24)),
}
