"""LF-VILA's downstream models with a head: answers, multiple choice with spans, video classes (spec lf_vila, 2.4, 3).

Legend: B samples, O options, M sentences, L tokens of a sentence, D frames, P patches of a frame, C width, K classes.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from vidalign.common.output import Output
from vidalign.models.base import OptionScores
from vidalign.models.lf_vila.base import Architecture, LFVila, accuracy
from vidalign.models.lf_vila.features import encode_text, join_modalities, unit


class LFVilaAnswers(LFVila):
    """Question (and subtitles) with video -> one of many answers; VIOLIN is this with two classes."""

    abilities: ClassVar[frozenset[str]] = frozenset({"classify"})

    def __init__(self, architecture: Architecture, *, num_answers: int, label_smoothing: float = 0.0) -> None:
        super().__init__(architecture, text={"answers": num_answers}, cross_modal=True)
        self.label_smoothing = label_smoothing

    @classmethod
    def build(cls, config: Any) -> LFVilaAnswers:
        """From LFVilaAnswersConfig."""
        return cls(
            Architecture.from_config(config),
            num_answers=config.num_answers,
            label_smoothing=config.label_smoothing,
        )

    def loss_names(self) -> tuple[str, ...]:
        """Names in Output.losses."""
        return ("answer",)

    def forward(self, batch: dict[str, Any]) -> Output:
        """Cross entropy; samples whose label is -1 (an answer outside the vocabulary) do not count."""
        logits_BK, labels_B = self.classify(batch), batch["label"]
        loss = F.cross_entropy(
            logits_BK.float(), labels_B, ignore_index=-1, label_smoothing=self.label_smoothing, reduction="sum"
        )
        known = (labels_B >= 0).sum()
        logs = {"accuracy": accuracy(logits_BK, labels_B)}
        return Output(losses={"answer": loss / known.clamp(min=1)}, counts={"answer": known}, logs=logs)

    def supervised_counts(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Samples with a label."""
        return {"answer": (batch["label"] >= 0).sum()}

    def classify(self, batch: dict[str, Any]) -> Tensor:
        """(B, K) logits."""
        joined = join_modalities(self.encode_text(batch), self.visual_tokens(batch["video"]))
        _, pooled_BC = self.text_encoder.cross_modal(*joined)
        return self.text_encoder.classifier(self.text_encoder.dropout(pooled_BC))


class LFVilaMultipleChoice(LFVila):
    """Question with options, subtitles and video -> a score per option; a second head marks frames inside the span."""

    abilities: ClassVar[frozenset[str]] = frozenset({"score_options"})

    def __init__(self, architecture: Architecture, *, span_weight: float = 1.0, merge_sentences: bool = False) -> None:
        super().__init__(architecture, text={"answers": 1, "spans": True}, cross_modal=True)
        self.span_weight, self.merge_sentences = span_weight, merge_sentences

    @classmethod
    def build(cls, config: Any) -> LFVilaMultipleChoice:
        """From LFVilaMultipleChoiceConfig."""
        return cls(
            Architecture.from_config(config), span_weight=config.span_weight, merge_sentences=config.merge_sentences
        )

    def loss_names(self) -> tuple[str, ...]:
        """Names in Output.losses."""
        return ("answer", "span")

    def forward(self, batch: dict[str, Any]) -> Output:
        """Cross entropy over a sample's own options, and over the frames where batch["span_labels"] is there."""
        logits_BO, spans_BD2 = self.logits(batch)
        loss = F.cross_entropy(logits_BO.float(), batch["label"])
        losses, logs = {"answer": loss}, {"accuracy": accuracy(logits_BO, batch["label"])}
        if batch.get("span_labels") is not None:
            span = span_loss(spans_BD2, batch["span_labels"], batch["span_weights"])
            losses["span"] = self.span_weight * span
            logs["span_unweighted"] = span.detach()
            logs["span_accuracy"] = accuracy(spans_BD2, batch["span_labels"])
        counts = {name: count for name, count in self.supervised_counts(batch).items() if name in losses}
        return Output(losses=losses, counts=counts, logs=logs)

    def logits(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """((B, O) scores, (B, D, 2) scores of frames outside and inside the span: the largest over the options).

        Options that only fill up a row of fewer (batch["num_options"], see collate) have the score -inf and no frames.
        """
        ids_BOML, mask_BOML = batch["text_ids"], batch["text_mask"]
        if self.merge_sentences:
            ids_BOML, mask_BOML = (rearrange(one, "b o m l -> b o 1 (m l)") for one in (ids_BOML, mask_BOML))
        options = ids_BOML.shape[1]
        text = encode_text(self.text_encoder, self.sent_embedding, ids_BOML.flatten(0, 1), mask_BOML.flatten(0, 1))
        visual_BNC = self.visual_tokens(batch["video"])
        joined = join_modalities(text, repeat(visual_BNC, "b n c -> (b o) n c", o=options))
        hidden_RTC, pooled_RC = self.text_encoder.cross_modal(*joined)
        scores = self.text_encoder.classifier(self.text_encoder.dropout(pooled_RC))
        # Changed: the official code counts six patches per frame; here as many as there are.
        frames = rearrange(
            hidden_RTC[:, -visual_BNC.shape[1] :], "r (d p) c -> r d p c", d=self.architecture.num_frames
        ).mean(dim=2)
        scores_BO = scores.view(-1, options)
        spans_BOD2 = rearrange(self.text_encoder.span_classifier(frames), "(b o) d k -> b o d k", o=options)
        if "num_options" in batch:
            missing_BO = torch.arange(options, device=scores.device) >= batch["num_options"][:, None]
            scores_BO = scores_BO.masked_fill(missing_BO, float("-inf"))
            spans_BOD2 = spans_BOD2.masked_fill(missing_BO[:, :, None, None], float("-inf"))
        return scores_BO, spans_BOD2.amax(dim=1)

    def score_options(self, batch: dict[str, Any]) -> OptionScores:
        """scores: (B, O) logits, -inf where a sample has fewer options."""
        return OptionScores(self.logits(batch)[0])


def span_loss(spans_BD2: Tensor, labels_BD: Tensor, weights_BD: Tensor) -> Tensor:
    """Mean over all frames of weight times cross entropy."""
    loss = F.cross_entropy(spans_BD2.flatten(0, 1).float(), labels_BD.flatten(), reduction="none")
    return (loss * weights_BD.flatten()).mean()


class LFVilaVideo(LFVila):
    """Video -> classes (COIN, LVU), or one number (LVU's like ratio and views)."""

    abilities: ClassVar[frozenset[str]] = frozenset({"classify", "regress"})

    def __init__(
        self, architecture: Architecture, *, num_classes: int, regression: bool = False, target_offset: float = 0.0
    ) -> None:
        super().__init__(architecture, text=None)
        width = architecture.video.out_dim
        self.regression, self.target_offset = regression, target_offset
        self.video_global_proj = nn.Linear(width, width)
        self.video_frame_proj = nn.Linear(width, width)
        self.classifier = nn.Linear(width, 1 if regression else num_classes)

    @classmethod
    def build(cls, config: Any) -> LFVilaVideo:
        """From LFVilaVideoConfig."""
        return cls(
            Architecture.from_config(config),
            num_classes=config.num_classes,
            regression=config.regression,
            target_offset=config.target_offset,
        )

    def loss_names(self) -> tuple[str, ...]:
        """Names in Output.losses."""
        return ("regression",) if self.regression else ("class",)

    def forward(self, batch: dict[str, Any]) -> Output:
        """Cross entropy, or the squared error of batch["target"]."""
        counts = self.supervised_counts(batch)
        if self.regression:
            loss = F.mse_loss(self.regress(batch).float(), batch["target"])
            return Output(losses={"regression": loss}, counts=counts)
        logits_BK = self.classify(batch)
        loss = F.cross_entropy(logits_BK.float(), batch["label"])
        return Output(losses={"class": loss}, counts=counts, logs={"accuracy": accuracy(logits_BK, batch["label"])})

    def features(self, video: Tensor) -> tuple[Tensor, Tensor]:
        """((B, C) of length 1 for the whole video, (B, D, C) of every frame, which no loss uses)."""
        pooled_BDPC = self.pooled(video)
        video_BC = unit(self.video_global_proj(self.clips(pooled_BDPC).mean(dim=1)))
        return video_BC, unit(self.video_frame_proj(pooled_BDPC.mean(dim=2)))

    def classify(self, batch: dict[str, Any]) -> Tensor:
        """(B, K) logits from the normalised feature."""
        return self.classifier(self.global_video(batch["video"]))

    def regress(self, batch: dict[str, Any]) -> Tensor:
        """(B,) numbers in the units of the labels: the head's own plus `target_offset`."""
        return self.classify(batch)[:, 0] + self.target_offset
