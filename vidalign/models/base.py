"""What the runners and tasks expect of a model and its processor.

A model is an nn.Module built by `from_config`; it names its abilities, and a task asks for one of them. No model
inherits
behaviour from another: sharing goes through functions and blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor

    from vidalign.common.output import Output
    from vidalign.common.sample import DatasetInfo, Sample
    from vidalign.media.spec import MediaSpec

# ability name -> what it promises; a task names the one it needs
ABILITIES = {
    "score_options": "score_options(batch) -> OptionScores",
    "generate": "generate(batch, *, max_new_tokens=None, num_beams=1) -> list[str]; None: the model's own length",
    "embed_video": "embed_video(batch) -> Tensor (B, D)",
    "embed_text": "embed_text(batch) -> Tensor (B, D)",
    "classify": "classify(batch) -> Tensor (B, C)",
    "regress": "regress(batch) -> Tensor (B,)",
    "locate": "locate(batch) -> {windows: (start, end, score) per Sample, saliency: numbers per Sample}",
}


@dataclass
class OptionScores:
    """scores: (B, O) float, higher is better, -inf where an option does not exist. uncertainty: (B, O) in 0..1.

    `extras` holds further per-sample tensors for analysis (not written to records). kept_positions: (B, S), which of
    the media's frames the model kept in the end, None where it keeps all.
    """

    scores: Tensor
    uncertainty: Tensor | None = None
    extras: dict[str, Tensor] = field(default_factory=dict)
    kept_positions: Tensor | None = None


class Processor(Protocol):
    """A model's own step from one Sample and its media to tensors, and the collate. Runs in loader workers."""

    def __call__(self, sample: Sample, media: Tensor | None, *, epoch: int = 0) -> dict[str, Any]:
        """One item: a flat or nested dict of tensors and plain values."""
        ...

    def collate(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """A batch: tensors stacked or padded; always holds "uid": list[str]."""
        ...


class Model(Protocol):
    """The contract of every registered model class (an nn.Module).

    Optional: `checkpoint_blocks() -> list of modules` for activation checkpointing; `trained_parameters() -> dict`
    when names or order in optimizer states are not those of the module; `learning_rate_factors() -> dict` of
    factors on the run's rate by parameter name; `uses_autocast = True` for models that want the runner's autocast
    instead of casting inside; `set_loss_norm(name)` when a loss is no plain mean over items unless told so
    (`loss_norm: tokens`); `batches_by_ability = True` for a model whose batches differ by what is asked of it: its
    `processor` is then given `ability=`, the one that the task needs; `stored_frames(train=) -> StoredFrames or None`
    when a frozen encoder's outputs may come from a store. Under `torch.device("meta")` from_config
    builds shapes only (dry run).
    """

    abilities: ClassVar[frozenset[str]]

    @classmethod
    def from_config(cls, config: Any, *, dtype: torch.dtype | None = None, cache_dir: Path | None = None) -> Model:
        """Build from the model's own config dataclass; loads base weights, freezes what the recipe freezes.

        dtype: of the frozen weights, None for the config's own. cache_dir: for what can be made again.
        """
        ...

    def media_spec(self) -> MediaSpec:
        """What this model sees of a video."""
        ...

    def processor(self, info: DatasetInfo, *, train: bool, seed: int) -> Processor:
        """The processor for one benchmark; `train` decides between one true row and one row per option."""
        ...

    def supervised_counts(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Output.counts, known before the forward pass (for `loss_norm: tokens`)."""
        ...

    def __call__(self, batch: dict[str, Any]) -> Output:
        """Training forward."""
        ...

    def export_state(self) -> dict[str, Tensor]:
        """What a checkpoint stores (by default the trained part), under the released key names."""
        ...

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Load a checkpoint's weights completely or raise CheckpointError listing every misfit."""
        ...
