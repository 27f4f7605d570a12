"""CLIP text towers: captions -> one vector each (OpenAI `encode_text`: projected, not normalised).

Source: CLIP (arXiv 2103.00020); ViT-L/14 makes the features of TextVID (TOPA, specification topa, section 1).
Shape letters: N captions, S tokens, D projection width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vidalign.backbones.clip import TINY, drawn_weights, read_tower
from vidalign.common.errors import ConfigError
from vidalign.common.io import content_key

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_BYTES = 256


@dataclass(frozen=True)
class TextEncoder:
    """A frozen tower with what callers must know: its longest text, output width, and a key that names its content."""

    name: str
    key: str
    model: nn.Module
    max_tokens: int
    dim: int
    end_id: int

    @property
    def dtype(self) -> str:
        """Type of the weights, as "float32"."""
        return str(next(self.model.parameters()).dtype).removeprefix("torch.")

    def __call__(self, ids: Sequence[Sequence[int]]) -> Tensor:
        """Token ids of N captions, each with its end token -> float32 (N, D) on the CPU."""
        import torch

        longest = max(map(len, ids))
        # The end token fills up: the tower takes the output at the first one, and later ones cannot be seen from there.
        ids_NS = torch.tensor([[*row, *[self.end_id] * (longest - len(row))] for row in ids])
        device = next(self.model.parameters()).device
        with torch.inference_mode():
            embeds_ND = self.model(input_ids=ids_NS.to(device)).text_embeds
        return embeds_ND.float().cpu()


def load_clip_text(
    path: str, *, device: torch.device | str = "cpu", dtype: torch.dtype | None = None, tiny_dim: int = 768
) -> TextEncoder:
    """A tower from a Hugging Face CLIP folder (text tower alone or whole CLIP), a hub name, or "tiny" (random).

    Complete or error: weights that the file lacks are a CheckpointError. `dtype` defaults to float32.
    """
    if path == TINY:
        return tiny_clip_text(tiny_dim, device=device)
    from transformers import CLIPTextModelWithProjection

    return _frozen(*read_tower(CLIPTextModelWithProjection, path, dtype=dtype, kind="text"), device)


def clip_ids(path: str) -> Callable[[str], list[int]]:
    """CLIP's own tokenizer of a Hugging Face folder: caption -> ids with begin and end token, of any length."""
    from transformers import CLIPTokenizer

    folder, needed = Path(path), "its folder needs vocab.json and merges.txt, or tokenizer.json"
    files = [(folder / name).is_file() for name in ("tokenizer.json", "vocab.json", "merges.txt")]
    # transformers 5 makes an empty tokenizer of a folder without these files, and says nothing.
    if folder.is_dir() and not (files[0] or all(files[1:])):
        raise ConfigError(f"encoder {path!r}: no CLIP tokenizer in it; {needed}")
    try:
        tokenizer = CLIPTokenizer.from_pretrained(path, local_files_only=folder.is_dir())
    except (OSError, ValueError, TypeError) as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"encoder {path!r}: no CLIP tokenizer in it ({why}); {needed}") from error
    return lambda text: tokenizer(text, verbose=False)["input_ids"]


def tiny_ids(text: str) -> list[int]:
    """The ids of the "tiny" tower: bytes, and an end."""
    return [*text.encode("utf-8"), _BYTES]


def tiny_clip_text(dim: int, *, device: torch.device | str = "cpu", seed: int = 0) -> TextEncoder:
    """A very small random tower with `dim` outputs that reads bytes: the same weights with every library version."""
    import torch
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    # The end token must be the largest id, see TinyCLIP.
    ids = {"vocab_size": _BYTES + 1, "bos_token_id": 0, "eos_token_id": _BYTES, "pad_token_id": _BYTES}
    model = CLIPTextModelWithProjection(CLIPTextConfig(**shape, **ids, projection_dim=dim)).to(torch.float32)
    drawn_weights(model, seed, "tiny_clip_text")
    return _frozen(TINY, content_key(TINY, "text", dim, seed), model, device)


def _frozen(name: str, key: str, model: nn.Module, device: torch.device | str) -> TextEncoder:
    model.eval().requires_grad_(False).to(device)
    config = model.config
    # Old configs of OpenAI's models say 2, which transformers reads as "the largest id".
    end = config.vocab_size - 1 if config.eos_token_id == 2 else config.eos_token_id
    return TextEncoder(name, key, model, config.max_position_embeddings, config.projection_dim, end)
