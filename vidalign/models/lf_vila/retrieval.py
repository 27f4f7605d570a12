"""LF-VILA fine-tuned for retrieval: the stage-one model with the global loss alone (spec lf_vila, 2.4 and 3)."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from vidalign.common.output import Output
from vidalign.losses.gather import gather_with_grad
from vidalign.models.lf_vila.base import Architecture, LFVila
from vidalign.models.lf_vila.mtc import global_contrastive_loss


class LFVilaRetrieval(LFVila):
    """Videos and paragraphs -> the global contrastive loss; embeddings of both for retrieval."""

    abilities: ClassVar[frozenset[str]] = frozenset({"embed_video", "embed_text"})

    def __init__(self, architecture: Architecture, *, temperature: float = 0.05) -> None:
        super().__init__(architecture, text={"pretraining": True})
        self.temperature = temperature
        width = architecture.bert.hidden_size
        self.video_global_proj = nn.Linear(width, width)
        self.text_global_proj = nn.Linear(width, width)

    @classmethod
    def build(cls, config: Any) -> LFVilaRetrieval:
        """From LFVilaRetrievalConfig."""
        return cls(Architecture.from_config(config), temperature=config.temperature)

    def loss_names(self) -> tuple[str, ...]:
        """Names in Output.losses."""
        return ("ct_global",)

    def forward(self, batch: dict[str, Any]) -> Output:
        """The contrastive loss over the samples of all processes."""
        video_BC, text_BC = gather_with_grad(self.embed_video(batch)), gather_with_grad(self.embed_text(batch))
        loss = global_contrastive_loss(video_BC, text_BC, temperature=self.temperature)
        return Output(losses={"ct_global": loss}, counts=self.supervised_counts(batch))

    def embed_video(self, batch: dict[str, Any]) -> Tensor:
        """(B, C), length 1."""
        return self.global_video(batch["video"])

    def embed_text(self, batch: dict[str, Any]) -> Tensor:
        """(B, C), length 1."""
        return self.global_text(self.encode_text(batch))
