"""LF-VILA's pre-training: stage one (global contrastive, MTC) and stage two (MLM, VTM over the frozen stage one).

arXiv 2210.06031, section 3.4; specification lf_vila, sections 2.4, 2.5 and 3.
Legend: B samples, M clips or sentences, L tokens of a sentence, C width, N labelled tokens, V vocabulary.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidalign.common.output import Output
from vidalign.losses.gather import gather_values, gather_with_grad
from vidalign.models.lf_vila.base import Architecture, LFVila, accuracy
from vidalign.models.lf_vila.features import EncodedText, join_modalities, unit
from vidalign.models.lf_vila.mtc import IGNORED, MTCSizes, global_contrastive_loss, mtc_loss
from vidalign.models.lf_vila.text_encoder import MaskedLanguageHead

_log = logging.getLogger(__name__)
# Below it the half of the batch that gets another sample's video has one sample or none, see mismatch_half.
_SMALLEST_BATCH = 4


class LFVilaPretrain(LFVila):
    """Paragraphs and videos of several clips -> contrastive losses (stage 1), or MLM and VTM (stage 2).

    frozen_stages: of the video encoder, see there; None: all in stage two. frozen_layers: of the text encoder, its
    embeddings with them; -1: none. Stage two freezes all that stage one has trained, whatever the two say.
    """

    abilities: ClassVar[frozenset[str]] = frozenset({"embed_video", "embed_text"})

    def __init__(
        self,
        architecture: Architecture,
        *,
        stage: int = 1,
        mtc: MTCSizes | None = None,
        temperature: float = 0.05,
        mtc_temperature: float = 0.05,
        weights: dict[str, float] | None = None,
        frozen_stages: int | None = None,
        frozen_layers: int = -1,
        frozen_dropout: bool = True,
    ) -> None:
        if frozen_stages is None:
            frozen_stages = len(architecture.video.depths) if stage == 2 else -1
        super().__init__(architecture, text={"pretraining": True}, cross_modal=stage == 2, frozen_stages=frozen_stages)
        self.stage, self.mtc, self.frozen_dropout = stage, mtc or MTCSizes(), frozen_dropout
        self._told_small = False
        self.temperature, self.mtc_temperature = temperature, mtc_temperature
        self.weights = {"ct_global": 1.0, "ct_time": 0.25, "mlm": 1.0, "vtm": 10.0} | (weights or {})
        width = architecture.bert.hidden_size
        for name in ("video_local_proj", "text_local_proj", "video_global_proj", "text_global_proj"):
            setattr(self, name, nn.Linear(width, width))
        self.frozen_layers = max(frozen_layers, architecture.stage1_layers) if stage == 2 else frozen_layers
        if self.frozen_layers >= 0:
            self.text_encoder.freeze(self.frozen_layers)
        if stage == 2:
            self.freeze_stage_one()

    @classmethod
    def build(cls, config: Any) -> LFVilaPretrain:
        """From LFVilaPretrainConfig."""
        return cls(
            Architecture.from_config(config),
            stage=config.stage,
            mtc=MTCSizes(config.num_key, config.num_value, config.num_other_neg),
            temperature=config.temperature,
            mtc_temperature=config.mtc_temperature,
            weights={
                "ct_global": config.global_weight,
                "ct_time": config.mtc_weight,
                "mlm": config.mlm_weight,
                "vtm": config.vtm_weight,
            },
            frozen_dropout=config.frozen_dropout,
        )

    def stage_one_parts(self) -> Iterator[nn.Module]:
        """Everything that stage two leaves alone: what stage one has trained, and further frozen layers."""
        yield self.video_encoder
        yield from (self.text_encoder.bert.embeddings, self.sent_embedding)
        yield from self.text_encoder.bert.encoder.layer[: self.frozen_layers]
        yield from (self.video_local_proj, self.text_local_proj, self.video_global_proj, self.text_global_proj)

    def freeze_stage_one(self) -> None:
        """Changed: the official constructor freezes `sent_embedding` before it exists, and fails; it also counts twelve
        layers whatever the model has. [pretrain_stage2]"""
        for part in self.stage_one_parts():
            part.requires_grad_(False)

    def train(self, mode: bool = True) -> LFVilaPretrain:
        """Kept: dropout stays active in the frozen text layers, unless `frozen_dropout` is False."""
        super().train(mode)
        if getattr(self, "stage", 1) == 2 and not self.frozen_dropout:
            for part in self.stage_one_parts():
                part.eval()
        return self

    def loss_names(self) -> tuple[str, ...]:
        """Names in Output.losses."""
        return ("ct_global", "ct_time") if self.stage == 1 else ("mlm", "vtm")

    def forward(self, batch: dict[str, Any]) -> Output:
        """Weighted losses of this stage."""
        return self._contrast(batch) if self.stage == 1 else self._fuse(batch)

    def _contrast(self, batch: dict[str, Any]) -> Output:
        clips_BMC, text = self.clips(self.pooled(batch["video"])), self.encode_text(batch)
        video_BC = unit(self.video_global_proj(clips_BMC.mean(dim=1)))
        local_video = gather_with_grad(unit(self.video_local_proj(clips_BMC)))
        local_text = gather_with_grad(unit(self.text_local_proj(text.sentence_BMC)))
        ct_global = global_contrastive_loss(
            gather_with_grad(video_BC), gather_with_grad(self.global_text(text)), temperature=self.temperature
        )
        # The orders travel with the samples, so all processes compute one and the same loss.
        orders = gather_values(batch["mtc_orders"])
        ct_time, labels_N = mtc_loss(local_video, local_text, orders, sizes=self.mtc, temperature=self.mtc_temperature)
        # Changed: with every key ignored the official loss is NaN; here that batch has none. Only tiny ones do that.
        ct_time = torch.where((labels_N != IGNORED).any(), ct_time, torch.zeros_like(ct_time))
        losses = {"ct_global": self.weights["ct_global"] * ct_global, "ct_time": self.weights["ct_time"] * ct_time}
        return Output(losses=losses, counts=self.supervised_counts(batch))

    def _tell_small(self, count: int) -> None:
        if count < _SMALLEST_BATCH and not self._told_small:
            self._told_small = True
            _log.warning(
                f"{count} samples in a batch: video-text matching sees no video of another sample and learns nothing; "
                f"set run.batch_size_per_gpu to {_SMALLEST_BATCH} or more"
            )

    def _fuse(self, batch: dict[str, Any]) -> Output:
        self._tell_small(len(batch["video"]))
        with torch.no_grad():  # all of stage one is frozen
            text, pooled_BDPC = self.encode_text(batch), self.pooled(batch["video"])
        visual_BNC, vtm_labels_B = mismatch_half(self.video_token_pos(pooled_BDPC))
        hidden_BTC, pooled_BC = self.text_encoder.cross_modal(*join_modalities(text, visual_BNC))
        words = batch.get("mlm_words") or masked_words(batch["mlm_labels"])
        mlm, mlm_accuracy = masked_word_loss(
            self.text_encoder.cls.predictions, hidden_BTC[:, 1:], words, from_row=first_matching(len(visual_BNC))
        )
        vtm, vtm_accuracy, _ = matching_loss(self.text_encoder.seq_relationship, pooled_BC, vtm_labels_B)
        return Output(
            losses={"mlm": self.weights["mlm"] * mlm, "vtm": self.weights["vtm"] * vtm},
            counts=self.supervised_counts(batch),
            logs={"mlm_accuracy": mlm_accuracy, "vtm_accuracy": vtm_accuracy},
        )

    def word_logits(self, batch: dict[str, Any]) -> Tensor:
        """(B, 1 + M * L + visual tokens, V): MLM logits at every place, as the official forward pass has them."""
        visual_BNC, _ = mismatch_half(self.visual_tokens(batch["video"]))
        hidden_BTC, _ = self.text_encoder.cross_modal(*join_modalities(self.encode_text(batch), visual_BNC))
        return self.text_encoder.cls.predictions(hidden_BTC)

    def embed_video(self, batch: dict[str, Any]) -> Tensor:
        """(B, C), length 1."""
        return self.global_video(batch["video"])

    def embed_text(self, batch: dict[str, Any]) -> Tensor:
        """(B, C), length 1."""
        return self.global_text(self.encode_text(batch))

    def embed_clips(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """(B, M, C) features of clips and of sentences, length 1: what MTC compares."""
        text: EncodedText = self.encode_text(batch)
        clips_BMC = self.clips(self.pooled(batch["video"]))
        return unit(self.video_local_proj(clips_BMC)), unit(self.text_local_proj(text.sentence_BMC))


def first_matching(batch: int) -> int:
    """The first row of a batch whose video is its own."""
    return batch // 2


def weighted_total(losses: dict[str, Tensor], weights: dict[str, float]) -> Tensor:
    """Sum of weight times loss."""
    return sum(weights[name] * loss for name, loss in losses.items())


def matching_loss(head: nn.Linear, pooled_BC: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(cross entropy, accuracy, logits (B, 2)) of video-text matching; class 1 is a match."""
    logits_B2 = head(pooled_BC)
    return F.cross_entropy(logits_B2.float(), labels_B), accuracy(logits_B2, labels_B), logits_B2


def mismatch_half(visual_BNC: Tensor) -> tuple[Tensor, Tensor]:
    """(visual tokens, VTM labels): in the first half of the batch each sample gets the video of the one before it.

    Kept: with one sample in that half its "wrong" video is the right one. [pretrain_stage2]
    """
    half = first_matching(len(visual_BNC))
    labels_B = torch.ones(len(visual_BNC), dtype=torch.long, device=visual_BNC.device)
    labels_B[:half] = 0
    return torch.cat([visual_BNC[:half].roll(1, dims=0), visual_BNC[half:]]), labels_B


def masked_words(labels_BT: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(row, place, token id) of every labelled token."""
    row_N, place_N = (labels_BT != IGNORED).nonzero(as_tuple=True)
    return row_N, place_N, labels_BT[row_N, place_N]


def masked_word_loss(
    head: MaskedLanguageHead, hidden_BTC: Tensor, words: tuple[Tensor, Tensor, Tensor], *, from_row: int = 0
) -> tuple[Tensor, Tensor]:
    """(mean cross entropy of the rows from `from_row` on, accuracy of all rows); logits only where a label is.

    Changed: without any such token the official loss is NaN, here 0.
    """
    row_N, place_N, target_N = words
    logits_NV = head(hidden_BTC[row_N, place_N]).float()
    counted_N = (row_N >= from_row).float()
    loss_N = F.cross_entropy(logits_NV, target_N, reduction="none")
    loss = (loss_N * counted_N).sum() / counted_N.sum().clamp(min=1)
    right_N = (logits_NV.detach().argmax(dim=-1) == target_N).float()
    return loss, right_N.sum() / max(len(target_N), 1)
