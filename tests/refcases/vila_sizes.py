"""Sizes of a tiny ViLA read off the shapes that a case lists; what no shape tells is made up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Shapes = Mapping[str, Sequence[int]]


def layer_count(names: Any, stem: str) -> int:
    """How many numbered modules follow `stem` in these names; 1 where none does."""
    numbers = {int(name.removeprefix(stem).split(".")[0]) for name in names if name.startswith(stem)}
    return len(numbers) or 1


def tower_sizes(shapes: Shapes) -> dict[str, Any]:
    """Fields of Dims."""
    dim, (t5_vocab, t5_dim) = shapes["query_tokens"][2], t5_table(shapes)
    lora = [shape for name, shape in shapes.items() if name.endswith("q.lora_B.default.weight")]
    stem = "t5_model.base_model.model."
    layers = {side: layer_count(shapes, f"{stem}{side}.block.") for side in ("encoder", "decoder")}
    grid = round((frame_sizes(shapes)["num_tokens"] - 1) ** 0.5)
    return {
        "image_px": grid,
        "patch_px": 1,
        "vision_dim": shapes["ln_vision.weight"][0],
        "vision_depth": 1,
        "vision_heads": 1,
        "qformer_dim": dim,
        "qformer_depth": layer_count(shapes, "Qformer.bert.encoder.layer."),
        "qformer_heads": 1,
        "qformer_hidden": shapes["Qformer.bert.encoder.layer.0.intermediate.dense.weight"][0],
        "qformer_vocab": shapes["Qformer.bert.embeddings.word_embeddings.weight"][0],
        "qformer_positions": shapes["Qformer.bert.embeddings.position_embeddings.weight"][0],
        "num_queries": shapes["query_tokens"][1],
        "t5": {
            "vocab_size": t5_vocab,
            "d_model": t5_dim,
            "d_kv": lora[0][0] if lora else 8,
            "num_heads": 1,
            "d_ff": 8,
            "num_layers": layers["encoder"],
            "num_decoder_layers": layers["decoder"],
        },
    }


def t5_table(shapes: Shapes) -> Sequence[int]:
    """Shape of T5's token table."""
    return next(shape for name, shape in shapes.items() if name.endswith("encoder.embed_tokens.weight"))


def frame_sizes(shapes: Shapes) -> dict[str, int]:
    """Frames, kept frames and tokens of a frame; of a model without selector anything will do."""
    if "fs.conv_pool.weight" not in shapes:
        return {"num_tokens": 5, "num_frames": 4, "frames_kept": 0, "rank": 0}
    size, pooled = shapes["fs.conv_pool.weight"]
    teacher, student = shapes["dist_fc_bn.0.weight"]
    queries = shapes["query_tokens"][1]
    ranks = [shape[0] for name, shape in shapes.items() if name.endswith("lora_A.default.weight")]
    return {
        "num_tokens": pooled // size,
        "num_frames": teacher // queries,
        "frames_kept": student // queries,
        "rank": ranks[0] if ranks else 0,
    }
