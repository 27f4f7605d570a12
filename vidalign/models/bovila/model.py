"""BoViLA: Bootstrapping Video-Language Alignment via LLM-Based Self-Questioning and Answering (arXiv 2410.02768).

Three passes of one frozen LM per step: answer the human question (VQA, evidential loss), generate the question from
video and answer (VAQ), answer the model's own softly sampled question (AQA, weighted by 1 - uncertainty). Evaluation
uses the first pass alone.

Shape letters: B samples, O options, R rows, T positions, D width of the LM, F frames, E width of a visual feature,
V vocabulary, N supervised positions, M sampled question positions, K supervised tokens per option.
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
from vidalign.models.bovila import evidential
from vidalign.models.bovila.keys import load_released, released_state
from vidalign.models.bovila.plan import passes_of, plan_training
from vidalign.models.bovila.processor import PromptProcessor, build_processor
from vidalign.models.bovila.self_questioning import gumbel_noise, sample_embeddings, sample_onehot


class BoViLA(nn.Module):
    """A batch of prompts and video features -> losses "edl_mse", "edl_reg" (or "vqa"), "vaq", "aqa"."""

    abilities: ClassVar[frozenset[str]] = frozenset({"score_options"})

    def __init__(self, video_lm: VideoLM, config: Any, *, cache_dir: Path | None = None) -> None:
        super().__init__()
        self.video_lm, self.config, self.cache_dir = video_lm, config, cache_dir
        self.regularize_all_pairs = True
        self.scale_proj: nn.Linear | None = None
        if config.losses.answer == "evidential":
            # Kept: the evidence scale is a random frozen projection. [train_edl_vaq_aqa_nogate]
            # Changed: it is saved with the trained part, so uncertainty can be reproduced from a checkpoint.
            llm = video_lm.llm
            self.scale_proj = nn.Linear(llm.vocab_size, 1, dtype=llm.dtype).requires_grad_(False)

    @classmethod
    def from_config(
        cls, config: Any, *, dtype: torch.dtype | None = None, cache_dir: Path | str | None = None
    ) -> BoViLA:
        """From BoViLAConfig; loads the frozen LM. `dtype` of the frozen weights overrides `config.llm.dtype`."""
        return cls(build_video_lm(config, dtype=dtype), config, cache_dir=Path(cache_dir) if cache_dir else None)

    def set_loss_norm(self, loss_norm: str) -> None:
        """Called by the runner with `run.loss_norm`.

        Changed: under "tokens" the regularizer pairs each row with its own evidence, as the formula means it; the
        official pairs of all rows of a micro-batch do not add up over micro-batches and processes.
        """
        self.regularize_all_pairs = loss_norm == "official"

    def media_spec(self) -> MediaSpec:
        """F rows of CLIP features, the official floor rule, zero rows when there are fewer."""
        return MediaSpec(kind="features", num_frames=self.config.num_frames, feature_dim=self.config.visual_dim)

    def processor(self, info: DatasetInfo, *, train: bool, seed: int) -> PromptProcessor:
        """Prompts of this model for one benchmark."""
        return build_processor(
            self.config,
            info,
            train=train,
            seed=seed,
            streams=self.streams,
            cache_dir=self.cache_dir,
            questions=self.config.losses.aqa > 0,
        )

    @property
    def streams(self) -> tuple[str, ...]:
        """The passes training needs."""
        return ("vqa", "vaq") if self.config.losses.vaq or self.config.losses.aqa else ("vqa",)

    def checkpoint_blocks(self) -> list[nn.Module]:
        """The modules that activation checkpointing wraps."""
        return self.video_lm.checkpoint_blocks()

    def forward(self, batch: dict[str, Any], noise_MV: Tensor | None = None) -> Output:
        """Training losses. `noise_MV`: Gumbel noise of the sampled questions, by default from the batch's seeds."""
        losses = self.config.losses
        plan = self._plan(batch)
        tokens_BFD, _ = self.video_lm.video(batch["video"])
        embedded = {name: self.video_lm.embed(batch[name], tokens_BFD) for name in self.streams}
        starts = {name: bias_start(row_starts(batch[name])) for name in self.streams}
        rows = {name: plan[name] for name in self.streams}
        logits: dict[str, Tensor] = {}
        passes = passes_of(self.streams, questions=losses.aqa > 0)
        for names, packing in zip(passes, plan["packing"], strict=True):
            if "aqa" in names:
                embedded["aqa"] = self._with_own_questions(embedded["vqa"], logits["vaq"], plan["question"], noise_MV)
                starts["aqa"], rows["aqa"] = starts["vqa"], rows["vqa"]
            hidden = self.video_lm.hidden(
                [embedded[name] for name in names], [starts[name] for name in names], packing=packing
            )
            for name, states in zip(names, hidden, strict=True):
                logits[name] = self.video_lm.logits(states, rows[name]["rows_N"])

        out = Output(losses={}, counts=self._counts(plan))
        self._answer_loss(out, logits["vqa"], rows["vqa"])
        if "vaq" in logits:
            # Kept: with weight 0 the term is still reported, as 0. [train_aqa_only_vaq0]
            out.losses["vaq"] = losses.vaq * self._cross_entropy(logits["vaq"], rows["vaq"]["target_N"])
        if "aqa" in logits:
            self._own_answer_loss(out, logits["aqa"], rows["aqa"], batch_size=len(embedded["aqa"]))
        return out

    def supervised_counts(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Supervised items behind each loss, known before the forward pass."""
        return self._counts(self._plan(batch))

    @torch.no_grad()
    def score_options(self, batch: dict[str, Any]) -> OptionScores:
        """scores: minus the mean token loss of each option; uncertainty: mean over the option's supervised tokens."""
        token_ce, logits_NV, read_BOK = option_losses(
            self.video_lm, batch, bias_start_B=bias_start(batch["vqa"]["video_start"])
        )
        exists_BO = batch["vqa"]["lengths"] > 0
        scores = -mean_token_loss(token_ce)
        uncertainty = None
        if self.scale_proj is not None:
            uncertainty = self._option_uncertainty(logits_NV, read_BOK)
        return OptionScores(
            scores=scores.masked_fill(~exists_BO, float("-inf")),
            uncertainty=uncertainty,
            extras={"token_ce": token_ce},
        )

    def export_state(self) -> dict[str, Tensor]:
        """The trained part under the released names, and the evidence scale."""
        return released_state(self.video_lm.adapter, self.scale_proj)

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Load a released or own checkpoint completely; a released one lacks the evidence scale."""
        load_released(self.video_lm.adapter, self.scale_proj, state)

    def _plan(self, batch: dict[str, Any]) -> dict[str, Any]:
        if "plan" in batch:
            return batch["plan"]
        return plan_training(
            batch,
            streams=self.streams,
            max_seq_len=self.config.max_seq_len,
            questions=self.config.losses.aqa > 0,
        )

    def _counts(self, plan: dict[str, Any]) -> dict[str, Tensor]:
        answer = (plan["vqa"]["target_N"] != 0).sum()
        masked = plan["vqa"]["masked_N"].sum()
        counts = {"vqa": answer} if self.scale_proj is None else {"edl_mse": masked, "edl_reg": masked}
        if "vaq" in plan:
            counts["vaq"] = (plan["vaq"]["target_N"] != 0).sum()
        if self.config.losses.aqa:
            counts["aqa"] = answer
        return counts

    def _cross_entropy(self, logits_NV: Tensor, target_N: Tensor) -> Tensor:
        """Mean over the targets that are not 0; in float32 unless the exact path is on."""
        logits = logits_NV if self.video_lm.exact else logits_NV.float()
        return F.cross_entropy(logits, target_N, ignore_index=0)

    def _evidence(self, logits_NV: Tensor) -> tuple[Tensor, Tensor]:
        return evidential.evidence(logits_NV, self.scale_proj, exact=self.config.losses.exact)

    def _answer_loss(self, out: Output, logits_NV: Tensor, rows: dict[str, Tensor]) -> None:
        losses = self.config.losses
        if self.scale_proj is None:
            out.losses["vqa"] = self._cross_entropy(logits_NV, rows["target_N"])
            return
        # Rows are supervised by the span's mask; cross-entropy alone leaves out the token with id 0. [train_fp16]
        e_NV, q_N1 = self._evidence(logits_NV)
        label_N = rows["target_N"]
        error, regularizer = evidential.answer_terms(e_NV, q_N1, label_N, all_pairs=self.regularize_all_pairs)
        out.losses["edl_mse"] = losses.evidential * error
        out.losses["edl_reg"] = losses.regularizer * regularizer
        out.logs["uncertainty"] = evidential.uncertainty(q_N1).mean().detach()

    def _with_own_questions(
        self, vqa_RTD: Tensor, vaq_logits_NV: Tensor, question: dict[str, Any], noise_MV: Tensor | None
    ) -> Tensor:
        """The answering input with each human question replaced by the model's own sample."""
        logits_MV = vaq_logits_NV[question["read_M"]]
        if not len(logits_MV):
            return vqa_RTD
        if noise_MV is None:
            noise_MV = gumbel_noise(
                question["counts"], question["seeds"], vocab_size=logits_MV.shape[-1], device=logits_MV.device
            )
        table_VD = self.video_lm.llm.embeddings
        if self.video_lm.exact:
            own_MD = sample_onehot(logits_MV, noise_MV) @ table_VD
        else:
            own_MD = sample_embeddings(logits_MV, noise_MV, table_VD)
        flat = vqa_RTD.flatten(0, 1).index_copy(0, question["write_M"], own_MD)
        return flat.view_as(vqa_RTD)

    def _own_answer_loss(self, out: Output, logits_NV: Tensor, rows: dict[str, Tensor], *, batch_size: int) -> None:
        """AQA: cross-entropy, or with the gate a sum over samples of (1 - uncertainty) * mean cross-entropy.

        Kept: the gated term is a sum over the batch, and its weight passes gradient. [train_edl_vaq_aqa_gate]
        """
        losses = self.config.losses
        if not (losses.uncertainty_gate and self.scale_proj is not None):
            out.losses["aqa"] = losses.aqa * self._cross_entropy(logits_NV, rows["target_N"])
            return
        _, q_N1 = self._evidence(logits_NV)
        ce_N = F.cross_entropy(logits_NV.float(), rows["target_N"], ignore_index=0, reduction="none")
        confidence_B = _mean_per_sample(q_N1[:, 0], rows["masked_N"], rows["sample_N"], batch_size=batch_size)
        ce_B = _mean_per_sample(ce_N, rows["target_N"] != 0, rows["sample_N"], batch_size=batch_size)
        out.losses["aqa"] = losses.aqa * (confidence_B * ce_B).sum()
        out.sums = frozenset({"aqa"})
        out.logs["own_question_weight"] = confidence_B.mean().detach()

    def _option_uncertainty(self, logits_NV: Tensor, read_BOK: Tensor) -> Tensor:
        counts_BO = (read_BOK >= 0).sum(-1)
        if self.video_lm.exact and bool((counts_BO != counts_BO.flatten()[0]).any()):
            # Kept: with differing label counts the official code gives 0 for the whole batch. [infer_u_fallback]
            return torch.zeros(counts_BO.shape, device=logits_NV.device)
        _, q_N1 = self._evidence(logits_NV)
        u_BOK = evidential.uncertainty(q_N1)[read_BOK, 0] * (read_BOK >= 0)
        # Changed: otherwise each option has the mean over its own tokens, whatever the others have.
        return u_BOK.sum(-1) / counts_BO.clamp(min=1)


def bias_start(start_R: Tensor) -> Tensor:
    """First column of the video as the bias sees it, from its real place.

    Kept: BoViLA tests `if video_start`, so a block at column 0 gets no bias. [block_adapter_video_start0]
    """
    return start_R.masked_fill(start_R == 0, -1)


def _mean_per_sample(value_N: Tensor, counted_N: Tensor, sample_N: Tensor, *, batch_size: int) -> Tensor:
    """Means over each sample's counted rows -> (B,)."""
    weight_N = counted_N.to(value_N.dtype)
    total_B = value_N.new_zeros(batch_size).index_add(0, sample_N, value_N * weight_N)
    return total_B / value_N.new_zeros(batch_size).index_add(0, sample_N, weight_N)
