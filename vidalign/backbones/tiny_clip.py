"""A CLIP (arXiv 2103.00020) of a third of a million weights for 64 x 64 pictures and short captions.

A Hugging Face CLIPModel, so that its folder loads like any other. Its text tower reads the ids of the tokenizer it is
given, with one id more that ends a text.

Shape letters: T pictures, N texts, S tokens, E width of the shared space.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vidalign.common.io import write_json

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

WIDTH, IMAGE_PX, PATCH_PX = 96, 64, 16


class TinyCLIP:
    """Both towers and the ids of their texts."""

    def __init__(self, vocab_size: int, *, dim: int, generator: torch.Generator) -> None:
        from transformers import CLIPConfig, CLIPModel

        # The end token must be the largest id: transformers looks for it by value or, in old configs, by arg-max.
        self.end_id = vocab_size
        tower = {"hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_attention_heads": 4, "projection_dim": dim}
        text = {"vocab_size": vocab_size + 1, "num_hidden_layers": 1, "max_position_embeddings": 77}
        ends = {"bos_token_id": 0, "eos_token_id": self.end_id, "pad_token_id": self.end_id}
        config = CLIPConfig(
            vision_config={**tower, "num_hidden_layers": 2, "image_size": IMAGE_PX, "patch_size": PATCH_PX},
            text_config={**tower, **text, **ends},
            projection_dim=dim,
        )
        self.model: nn.Module = CLIPModel(config)
        start_tower(self.model, generator)

    @classmethod
    def load(cls, folder: Path) -> TinyCLIP:
        """What `save` wrote, frozen; `tokenizer_path` then says how captions become ids."""
        from transformers import CLIPModel

        clip = cls.__new__(cls)
        said = json.loads((folder / "text.json").read_text(encoding="utf-8"))
        clip.end_id, clip.tokenizer_path = said["end_id"], folder / said["tokenizer"]
        clip.model = CLIPModel.from_pretrained(folder).eval().requires_grad_(False)
        return clip

    def images(self, pixels_T3PP: Tensor) -> Tensor:
        """Normalised pictures -> (T, E), projected, not normalised."""
        return self.model.visual_projection(self.model.vision_model(pixel_values=pixels_T3PP).pooler_output)

    def texts(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """Token ids of N texts -> (N, E), projected, not normalised."""
        import torch

        longest = max(map(len, ids)) + 1
        ids_NS = torch.tensor([[*row, *[self.end_id] * (longest - len(row))] for row in ids])
        return self.model.text_projection(self.model.text_model(input_ids=ids_NS).pooler_output)

    def save(self, folder: Path) -> None:
        """As a Hugging Face folder, and beside it how captions become ids."""
        self.model.save_pretrained(folder)
        write_json(folder / "text.json", {"tokenizer": "../llm/tokenizer.model", "end_id": self.end_id})


def start_tower(model: nn.Module, generator: torch.Generator) -> None:
    """Larger start values than the library's 0.02: with those a model this small hardly moves in its few steps."""
    import torch

    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "patch_embedding" in name:
                weight.normal_(0, 1 / math.sqrt(weight[0].numel()), generator=generator)
            elif "embedding" in name:
                weight.normal_(0, 0.5, generator=generator)
            elif weight.ndim == 2:
                weight.normal_(0, 0.7 / math.sqrt(weight.shape[1]), generator=generator)
