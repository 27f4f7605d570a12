"""LLaMA-VQA, trained as Flipped-VQA (arXiv 2310.15747): predict answer, question and video, each from the other two.

Shape letters: B samples, R rows, T positions, D width of the LM, F frames, E width of a visual feature, N positions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidalign.backbones.option_scores import mean_token_loss, option_losses
from vidalign.backbones.video_lm import VideoLM, build_video_lm, row_starts
from vidalign.common.output import Output
from vidalign.common.sample import DatasetInfo
from vidalign.media.spec import MediaSpec
from vidalign.models.base import OptionScores
from vidalign.models.bovila.keys import load_released, released_state
from vidalign.models.bovila.plan import plan_training
from vidalign.models.bovila.processor import PromptProcessor, build_processor


class LlamaVQA(nn.Module):
    """A batch of prompts and video features -> losses "vqa", "vaq", "qav" (unweighted)."""

    abilities: ClassVar[frozenset[str]] = frozenset({"score_options"})

    def __init__(self, video_lm: VideoLM, config: Any, *, cache_dir: Path | None = None) -> None:
        super().__init__()
        self.video_lm, self.config, self.cache_dir = video_lm, config, cache_dir

    @classmethod
    def from_config(
        cls, config: Any, *, dtype: torch.dtype | None = None, cache_dir: Path | str | None = None
    ) -> LlamaVQA:
        """From LlamaVQAConfig; loads the frozen LM. `dtype` of the frozen weights overrides `config.llm.dtype`."""
        return cls(build_video_lm(config, dtype=dtype), config, cache_dir=Path(cache_dir) if cache_dir else None)

    def media_spec(self) -> MediaSpec:
        """F rows of CLIP features, the official floor rule, zero rows when there are fewer."""
        return MediaSpec(kind="features", num_frames=self.config.num_frames, feature_dim=self.config.visual_dim)

    def processor(self, info: DatasetInfo, *, train: bool, seed: int) -> PromptProcessor:
        """Prompts of this model for one benchmark."""
        return build_processor(
            self.config, info, train=train, seed=seed, streams=self.streams, cache_dir=self.cache_dir, questions=False
        )

    @property
    def streams(self) -> tuple[str, ...]:
        """The passes training needs."""
        on = {"vqa": True, "vaq": self.config.losses.vaq, "qav": self.config.losses.qav}
        return tuple(name for name, wanted in on.items() if wanted)

    def checkpoint_blocks(self) -> list[nn.Module]:
        """The modules that activation checkpointing wraps."""
        return self.video_lm.checkpoint_blocks()

    def forward(self, batch: dict[str, Any]) -> Output:
        """Training losses; all streams travel through the LM as one batch."""
        plan = self._plan(batch)
        tokens_BFD, projected_BFD = self.video_lm.video(batch["video"])
        embedded = [self.video_lm.embed(batch[name], tokens_BFD) for name in self.streams]
        # The video bias is off where the video is what shall be predicted.
        starts = [None if name == "qav" else row_starts(batch[name]) for name in self.streams]
        states = self.video_lm.hidden(embedded, starts, packing=plan["packing"][0])
        hidden = dict(zip(self.streams, states, strict=True))

        out = Output(losses={}, counts=self._counts(plan))
        for name in self.streams:
            rows = plan[name]
            if name == "qav":
                out.losses[name] = self._video_loss(hidden[name], projected_BFD, rows)
                continue
            logits = self.video_lm.logits(hidden[name], rows["rows_N"])
            logits = logits if self.video_lm.exact else logits.float()
            out.losses[name] = F.cross_entropy(logits, rows["target_N"], ignore_index=0)
        return out

    def supervised_counts(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Supervised items behind each loss, known before the forward pass."""
        return self._counts(self._plan(batch))

    @torch.no_grad()
    def score_options(self, batch: dict[str, Any]) -> OptionScores:
        """scores: minus the mean token loss of each option."""
        token_ce, _, _ = option_losses(self.video_lm, batch, bias_start_B=batch["vqa"]["video_start"])
        scores = -mean_token_loss(token_ce)
        exists_BO = batch["vqa"]["lengths"] > 0
        return OptionScores(scores.masked_fill(~exists_BO, float("-inf")), extras={"token_ce": token_ce})

    def export_state(self) -> dict[str, Tensor]:
        """The trained part under the released names."""
        return released_state(self.video_lm.adapter, None)

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Load a released or own checkpoint completely."""
        load_released(self.video_lm.adapter, None, state)

    def _plan(self, batch: dict[str, Any]) -> dict[str, Any]:
        if "plan" in batch:
            return batch["plan"]
        return plan_training(batch, streams=self.streams, max_seq_len=self.config.max_seq_len)

    def _counts(self, plan: dict[str, Any]) -> dict[str, Tensor]:
        return {name: (plan[name]["target_N"] != (-1 if name == "qav" else 0)).sum() for name in self.streams}

    def _video_loss(self, hidden: Tensor, projected_BFD: Tensor, rows: dict[str, Tensor]) -> Tensor:
        """The position before frame j must point at frame j among its own video's projected features (float32)."""
        hidden_ND = self.video_lm.at(hidden, rows["rows_N"]).float()
        logits_NF = torch.einsum("nd,nfd->nf", hidden_ND, projected_BFD[rows["sample_N"]])
        return F.cross_entropy(logits_NF / self.config.losses.tau, rows["target_N"], ignore_index=-1)
