"""CLIP image towers: frames -> one vector per frame (OpenAI `encode_image`: projected, not normalised).

Source: CLIP (arXiv 2103.00020); ViT-L/14 makes the 768-wide `clipvitl14.pth` features (spec bovila, section 4.7).
Shape letters: T frames, P = image_px, D = projection width.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vidalign.common.errors import CheckpointError, ConfigError
from vidalign.common.io import content_key
from vidalign.common.rng import draw_seed

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

TINY = "tiny"
WEIGHT_FILES = ("*.safetensors", "*.bin", "config.json")
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class FrameEncoder:
    """A frozen tower with what callers must know: input size, output width, and a key that names its content."""

    name: str
    key: str
    model: nn.Module
    image_px: int
    dim: int

    @property
    def dtype(self) -> str:
        """Type of the weights, as "float32"."""
        return str(next(self.model.parameters()).dtype).removeprefix("torch.")

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(self.model.parameters()).device

    def __call__(self, frames_T3PP: Tensor) -> Tensor:
        """Normalised frames float32 (T, 3, P, P) -> float32 (T, D) on the CPU."""
        import torch

        weight = next(self.model.parameters())
        with torch.inference_mode():
            embeds_TD = self.model(pixel_values=frames_T3PP.to(weight.device, weight.dtype)).image_embeds
        return embeds_TD.float().cpu()


def load_clip_vision(
    path: str, *, device: torch.device | str = "cpu", dtype: torch.dtype | None = None, tiny_dim: int = 768
) -> FrameEncoder:
    """An encoder from a Hugging Face CLIP folder (vision tower alone or whole CLIP), a hub name, or "tiny".

    Complete or error: weights that the file lacks are a CheckpointError, never random. `dtype` defaults to float32;
    `tiny_dim` is the output width of "tiny".
    """
    if path == TINY:
        return tiny_clip_vision(tiny_dim, device=device)
    from transformers import CLIPVisionModelWithProjection

    return _frozen(*read_tower(CLIPVisionModelWithProjection, path, dtype=dtype, kind="vision"), device)


def read_tower(
    tower: type[nn.Module], path: str, *, dtype: torch.dtype | None, kind: str
) -> tuple[str, str, nn.Module]:
    """(name, content key, model) of one tower from a folder or hub name; `kind`, "vision" or "text", is for messages.

    ConfigError where there is no such model, CheckpointError where weights are missing.
    """
    import torch

    folder = Path(path)
    try:
        with _without_report():
            # dtype is always named: transformers 5 would keep the file's type, 4 made float32.
            model, told = tower.from_pretrained(
                path, dtype=dtype or torch.float32, output_loading_info=True, local_files_only=folder.is_dir()
            )
    except (OSError, ValueError) as error:
        why = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"encoder {path!r}: not a folder (or hub name) of a Hugging Face CLIP model ({why}). Give a folder with "
            "config.json and model.safetensors, or `tiny` for a random one"
        ) from error
    missing = sorted(told["missing_keys"])
    if missing:
        raise CheckpointError(
            f"encoder {path!r}: {len(missing)} weights are not in the file, the first is {missing[0]}; it must hold a "
            f"CLIP {kind} tower with its projection ({tower.__name__} or CLIPModel)"
        )
    local = folder.is_dir()
    return folder.name if local else path, folder_key(folder) if local else content_key(path), model


def tiny_clip_vision(dim: int, *, device: torch.device | str = "cpu", seed: int = 0) -> FrameEncoder:
    """A very small random tower with `dim` outputs: the same weights with every library version.

    Library initialisers change between versions, so each parameter is drawn from a generator seeded by its own name.
    """
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPVisionConfig(**shape, image_size=64, patch_size=16, projection_dim=dim)
    model = CLIPVisionModelWithProjection(config).to(torch.float32)
    drawn_weights(model, seed, "tiny_clip_vision")
    return _frozen(TINY, content_key(TINY, dim, seed), model, device)


@contextmanager
def _without_report() -> Iterator[None]:
    """Without the library's table of the other tower's weights; missing ones are told all the same."""
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def drawn_weights(model: nn.Module, seed: int, purpose: str) -> None:
    """Draw every parameter from a generator that is seeded by its own name."""
    import torch

    with torch.no_grad():
        for name, weight in model.named_parameters():
            # transformers 5 dropped the prefix of the tower in some classes; the draw must not notice.
            plain = name.removeprefix("vision_model.").removeprefix("text_model.")
            generator = torch.Generator().manual_seed(draw_seed(seed, 0, plain, purpose))
            weight.copy_(_draw(plain, weight.shape, generator))


def _draw(name: str, shape: torch.Size, generator: torch.Generator) -> Tensor:
    import torch

    noise = torch.randn(shape, generator=generator)
    if "norm" in name or "layrnorm" in name:
        return 0.1 * noise + (1.0 if name.endswith("weight") else 0.0)
    fan_in = math.prod(shape[1:]) if len(shape) > 1 else shape[0]
    return noise / math.sqrt(fan_in)


def _frozen(name: str, key: str, model: nn.Module, device: torch.device | str) -> FrameEncoder:
    model.eval().requires_grad_(False).to(device)
    return FrameEncoder(name, key, model, model.config.image_size, model.config.projection_dim)


def folder_key(folder: Path) -> str:
    """Content key of a model folder: names, sizes, and the first and last MiB of its weight files.

    Whole files of gigabytes would be read by every process; a retrained tower differs in its last MiB too.
    """
    digest = hashlib.sha256()
    for path in sorted(file for pattern in WEIGHT_FILES for file in folder.glob(pattern)):
        size = path.stat().st_size
        digest.update(f"{path.name}/{size}\n".encode())
        with open(path, "rb") as file:
            digest.update(file.read(_BLOCK_BYTES))
            file.seek(max(size - _BLOCK_BYTES, 0))
            digest.update(file.read(_BLOCK_BYTES))
    return digest.hexdigest()[:16]
