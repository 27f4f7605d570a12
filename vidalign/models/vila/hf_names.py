"""Names of Hugging Face's InstructBLIP and BLIP-2 (FLAN-T5) -> the released ones, which are ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from vidalign.common.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

_RULES = [
    (r"query_tokens", "query_tokens"),
    (r"language_projection\.(.+)", r"t5_proj.\1"),
    (r"language_model\.(.+)", r"t5_model.\1"),
    (r"vision_model\.embeddings\.class_embedding", "visual_encoder.cls_token"),
    (r"vision_model\.embeddings\.position_embedding", "visual_encoder.pos_embed"),
    (r"vision_model\.embeddings\.patch_embedding\.(.+)", r"visual_encoder.patch_embed.proj.\1"),
    (r"vision_model\.post_layernorm\.(.+)", r"ln_vision.\1"),
    (r"vision_model\.encoder\.layers\.(\d+)\.self_attn\.(qkv)\.(.+)", r"visual_encoder.blocks.\1.attn.\2.\3"),
    (r"vision_model\.encoder\.layers\.(\d+)\.self_attn\.projection\.(.+)", r"visual_encoder.blocks.\1.attn.proj.\2"),
    (r"vision_model\.encoder\.layers\.(\d+)\.layer_norm(\d)\.(.+)", r"visual_encoder.blocks.\1.norm\2.\3"),
    (r"vision_model\.encoder\.layers\.(\d+)\.mlp\.(.+)", r"visual_encoder.blocks.\1.mlp.\2"),
    # InstructBLIP reads text, BLIP-2 has the queries' norm alone.
    (r"qformer\.embeddings\.layernorm\.(.+)", r"Qformer.bert.embeddings.LayerNorm.\1"),
    (r"qformer\.layernorm\.(.+)", r"Qformer.bert.embeddings.LayerNorm.\1"),
    (r"qformer\.embeddings\.(.+)", r"Qformer.bert.embeddings.\1"),
    (
        r"qformer\.encoder\.layer\.(\d+)\.(attention|crossattention)\.attention\.(.+)",
        r"Qformer.bert.encoder.layer.\1.\2.self.\3",
    ),
    (r"qformer\.encoder\.(.+)", r"Qformer.bert.encoder.\1"),
]
RULES = [(re.compile(pattern), new) for pattern, new in _RULES]


def released_name(name: str) -> str | None:
    """The released name, None for one that no rule knows."""
    return next((pattern.sub(new, name) for pattern, new in RULES if pattern.fullmatch(name)), None)


def from_hugging_face(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All weights under the released names; the ViT's joint bias falls into its query and value parts.

    CheckpointError for unknown names, and for a key bias that is not zero.
    """
    renamed: dict[str, Tensor] = {}
    strangers = []
    for name, value in state.items():
        new = released_name(name.removeprefix("model."))
        if new is None:
            strangers.append(name)
        elif new.endswith("attn.qkv.bias"):
            query, key, rest = value.chunk(3)
            if bool(key.count_nonzero()):
                raise CheckpointError(f"{name}: its key part is not zero; EVA has no key bias")
            stem = new.removesuffix("qkv.bias")
            renamed |= {f"{stem}q_bias": query, f"{stem}v_bias": rest}
        else:
            renamed[new] = value
    if strangers:
        raise CheckpointError("no names of InstructBLIP or BLIP-2: " + ", ".join(strangers[:5]))
    # One table under several names may be stored once.
    if "t5_model.shared.weight" not in renamed and "t5_model.encoder.embed_tokens.weight" in renamed:
        renamed["t5_model.shared.weight"] = renamed["t5_model.encoder.embed_tokens.weight"]
    return renamed
