"""What LF-VILA's models share: architecture from a config, both towers, starting weights, media, checkpoints.

Legend: B samples, D frames, P pooled patches of a frame, C width, M clips or sentences, L tokens of a sentence.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vidalign.backbones.bert import BertSizes
from vidalign.common.sample import DatasetInfo
from vidalign.media.spec import MediaSpec
from vidalign.models.lf_vila.features import (
    POOL,
    EncodedText,
    VideoTokenPosition,
    clip_means,
    encode_text,
    pool_patches,
    unit,
)
from vidalign.models.lf_vila.htwa import HTWASizes, VideoEncoder
from vidalign.models.lf_vila.keys import load_complete, start_from
from vidalign.models.lf_vila.processor import build_processor
from vidalign.models.lf_vila.sizes import SIZES
from vidalign.models.lf_vila.text_encoder import SentenceEmbedding, TextEncoder


@dataclass(frozen=True)
class Architecture:
    """The numbers behind a model. `clips`: clips of a video; `segments`: rows of the sentence number table."""

    video: HTWASizes
    bert: BertSizes
    num_frames: int
    image_hw: tuple[int, int]
    local_layers: int
    stage1_layers: int
    clips: int = 4
    segments: int = 8
    drop_path: float = 0.2
    mask_rule: str = "uniform"
    exact: bool = False

    @property
    def patches(self) -> int:
        """Pooled patches per frame."""
        height, width = (side // step for side, step in zip(self.image_hw, self.video.patch_size[1:], strict=True))
        for _ in self.video.downsample_stages:
            height, width = -(-height // 2), -(-width // 2)
        return (height - POOL[0] + 1) * (width - POOL[1] + 1)

    @classmethod
    def from_config(cls, config: Any) -> Architecture:
        """From any LFVilaConfig."""
        size = SIZES[config.size]
        video = HTWASizes(**size["video"])
        if config.temporal_windows is not None:
            pairs = zip(config.temporal_windows, video.window_size, strict=True)
            video = replace(video, window_size=tuple((time, *window[1:]) for time, window in pairs))
        dropout = {"hidden_dropout_prob": config.dropout, "attention_probs_dropout_prob": config.dropout}
        return cls(
            video=video,
            bert=BertSizes(**size["bert"], **dropout),
            num_frames=config.num_frames or size["num_frames"],
            image_hw=tuple(config.image_hw or size["image_hw"]),
            local_layers=size["local_layers"],
            stage1_layers=size["stage1_layers"],
            clips=config.clips,
            segments=config.segments,
            drop_path=config.drop_path,
            mask_rule=config.mask_rule,
            exact=config.exact,
        )

    def official(self) -> Architecture:
        """The same with the official order of operations."""
        return replace(self, exact=True)


class LFVila(nn.Module, ABC):
    """The towers of one model; subclasses add heads, a loss and abilities.

    text: which heads the text encoder has (arguments of TextEncoder), or None for video alone; `cross_modal` adds the
    layers over both modalities and the places of video tokens.
    """

    abilities: ClassVar[frozenset[str]] = frozenset()
    uses_autocast: ClassVar[bool] = True

    def __init__(
        self,
        architecture: Architecture,
        *,
        text: dict[str, Any] | None,
        cross_modal: bool = False,
        frozen_stages: int = -1,
    ) -> None:
        super().__init__()
        self.architecture = arch = architecture
        self.config: Any = None
        self.video_encoder = VideoEncoder(
            arch.video, drop_path_rate=arch.drop_path, frozen_stages=frozen_stages, exact=arch.exact
        )
        if text is not None:
            self.text_encoder = TextEncoder(
                arch.bert,
                local_layers=arch.local_layers,
                stage1_layers=arch.stage1_layers,
                num_layers=arch.bert.num_hidden_layers if cross_modal else arch.stage1_layers,
                mask_rule=arch.mask_rule,
                exact=arch.exact,
                **text,
            )
            self.sent_embedding = SentenceEmbedding(arch.bert, segments=arch.segments)
        if cross_modal:
            self.video_token_pos = VideoTokenPosition(
                arch.bert.hidden_size, frames=arch.num_frames, patches=arch.patches
            )

    @classmethod
    def from_config(cls, config: Any, *, dtype: torch.dtype | None = None, cache_dir: Path | str | None = None) -> Any:
        """From the model's config dataclass, with the weights of config.start. `dtype` is not used: all trains."""
        model = cls.build(config)
        model.config, model.cache_dir = config, Path(cache_dir) if cache_dir else None
        if not any(parameter.is_meta for parameter in model.parameters()):
            model.video_encoder.init_weights()
            if hasattr(model, "text_encoder"):
                model.text_encoder.init_weights()
        start_from(
            model,
            swin=config.start.swin,
            bert=config.start.bert,
            pretrained=config.start.pretrained,
            resize_windows=config.temporal_windows is not None,
            partly=config.start.partly,
        )
        return model

    @classmethod
    @abstractmethod
    def build(cls, config: Any) -> Any:
        """The bare model of a config."""

    def media_spec(self) -> MediaSpec:
        """Evenly spaced frames of the whole video as decoded; the processor crops and resizes them."""
        return MediaSpec(
            kind="frames",
            num_frames=self.architecture.num_frames,
            index_rule="linspace_ends",
            train_index_rule="random_linspace_ends",
            transform="untouched",
            clips=self.architecture.clips,
        )

    def processor(self, info: DatasetInfo, *, train: bool, seed: int) -> Any:
        """Frames, token ids and labels of this model for one benchmark."""
        return build_processor(
            self.config,
            info,
            frame_hw=self.architecture.image_hw,
            num_frames=self.architecture.num_frames,
            vocab_size=self.architecture.bert.vocab_size,
            train=train,
            seed=seed,
            cache_dir=self.cache_dir,
        )

    def checkpoint_blocks(self) -> list[nn.Module]:
        """The modules that activation checkpointing wraps."""
        blocks = [block for stage in self.video_encoder.layers for block in stage.blocks]
        return blocks + (list(self.text_encoder.bert.encoder.layer) if hasattr(self, "text_encoder") else [])

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """Everything that trains.

        Kept: the official optimizer has no group for the pooler, so that it stays as it is; `train_pooler` is the way
        out. [optimizer_groups]
        """
        own = {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}
        if getattr(self.config, "train_pooler", False):
            return own
        return {name: parameter for name, parameter in own.items() if "pooler" not in name}

    def supervised_counts(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """One item per sample behind every loss."""
        count = torch.tensor(float(len(batch["uid"])))
        return {name: count for name in self.loss_names()}

    @abstractmethod
    def loss_names(self) -> tuple[str, ...]:
        """Names in Output.losses."""

    def pooled(self, video: Tensor) -> Tensor:
        """(B, 3, T, H, W) -> (B, D, P, C)."""
        return pool_patches(self.video_encoder(video))

    def clips(self, pooled_BDPC: Tensor) -> Tensor:
        """(B, M, C)."""
        return clip_means(pooled_BDPC, self.architecture.clips)

    def encode_text(self, batch: dict[str, Any]) -> EncodedText:
        """Sentence and paragraph level of batch["text_ids"], batch["text_mask"] (B, M, L)."""
        return encode_text(self.text_encoder, self.sent_embedding, batch["text_ids"], batch["text_mask"])

    def visual_tokens(self, video: Tensor) -> Tensor:
        """(B, D * P, C), what the cross-modal layers see of the video."""
        return self.video_token_pos(self.pooled(video))

    def global_video(self, video: Tensor) -> Tensor:
        """(B, C), length 1."""
        return unit(self.video_global_proj(self.clips(self.pooled(video)).mean(dim=1)))

    def global_text(self, text: EncodedText) -> Tensor:
        """(B, C), length 1."""
        return unit(self.text_global_proj(text.tokens_BTC[:, 0]))

    def export_state(self) -> dict[str, Tensor]:
        """The whole model under the released names."""
        return dict(self.state_dict())

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Load a released or own checkpoint completely or raise CheckpointError."""
        load_complete(self, state)


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of rows whose largest logit is the label's; a 0-d float."""
    return (logits.detach().argmax(dim=-1) == labels).float().mean()
