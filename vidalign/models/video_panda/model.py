"""Video-Panda: video question answering without a pretrained vision encoder (arXiv 2412.18609).

Frames go through STAB and a projector straight into the language model; in training, hidden states at the visual tokens
are aligned to a frozen LanguageBind video encoder.

Shape letters: F frames of all clips, P pixels, B samples, S positions, N visual tokens, D width of the language model,
C of the teacher, U clips that differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidalign.backbones.decoder import greedy_after_prefix, hidden_states, set_attention
from vidalign.common.errors import ConfigError
from vidalign.common.output import Output
from vidalign.common.sample import DatasetInfo
from vidalign.media.spec import MediaSpec
from vidalign.models.video_panda.alignment import AlignmentHead, alignment_loss, exact_alignment_loss
from vidalign.models.video_panda.boxes import Box
from vidalign.models.video_panda.frames import pixels
from vidalign.models.video_panda.keys import HEAD, load_start, official_name, own_tensors
from vidalign.models.video_panda.prompts import stops
from vidalign.models.video_panda.splice import exact_splice, splice
from vidalign.models.video_panda.stab import Stab, project_tokens, projector
from vidalign.models.video_panda.stab_exact import exact_tokens

VISUAL = ("video_tower.", "video_projector.", "video_tower_compressor.")


class VideoPanda(nn.Module):
    """A batch of conversations with pictures -> losses "llm" and "alignment"; questions -> answers."""

    abilities: ClassVar[frozenset[str]] = frozenset({"generate"})
    # Trained weights are float32; the runner's autocast computes in run.precision.
    uses_autocast: ClassVar[bool] = True

    def __init__(
        self,
        lm: nn.Module,
        video_tower: Stab,
        *,
        config: Any,
        layers: Sequence[int],
        head: AlignmentHead | None = None,
        teacher: nn.Module | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        super().__init__()
        lm_dim = lm.config.hidden_size
        self.lm, self.video_tower, self.config, self.cache_dir = lm, video_tower, config, cache_dir
        self.video_projector = projector(video_tower.class_embedding.shape[0], lm_dim)
        self.layers = list(layers)
        if head is not None:
            self.video_tower_compressor = head
        self.teacher = teacher
        self.exact = config.attention == "exact"
        set_attention(lm, config.attention)
        self._finished: Any = None

    @classmethod
    def from_config(
        cls, config: Any, *, dtype: torch.dtype | None = None, cache_dir: Path | str | None = None
    ) -> VideoPanda:
        """From VideoPandaConfig. dtype: of frozen weights, and of all of them at evaluation."""
        from vidalign.models.video_panda.build import build

        return build(cls, config, dtype=dtype, cache_dir=Path(cache_dir) if cache_dir else None)

    def media_spec(self) -> MediaSpec:
        """One decoded frame per second, as it is; the processor resizes."""
        return MediaSpec(
            kind="frames",
            num_frames=self.config.num_frames,
            index_rule="one_per_second",
            pad=False,
            transform="untouched",
            optional=True,
        )

    def processor(self, info: DatasetInfo, *, train: bool, seed: int) -> Any:
        """Prompts, letter-boxed frames and the collate for one benchmark."""
        from vidalign.models.video_panda.processor import build_processor

        return build_processor(self.config, self.video_tower, train=train, seed=seed, cache_dir=self.cache_dir)

    def checkpoint_blocks(self) -> list[nn.Module]:
        """The modules that activation checkpointing wraps: the language model's layers, as published."""
        return list(self.lm.model.layers)

    def visual_tokens(self, frames: Tensor, boxes: Sequence[Box], clips: Sequence[int]) -> Tensor:
        """(N, D): tokens of all frames, one after the other. frames: uint8 pictures, or normalised ones."""
        make = exact_tokens if self.exact else project_tokens
        return make(self.video_tower, self.video_projector, self._pixels(frames, boxes), boxes, clips=clips)

    def embedded(self, batch: dict[str, Any]) -> Tensor:
        """(B, S, D): what the language model sees of a training batch."""
        visual_ND = None
        if batch["clips"]:
            visual_ND = self.visual_tokens(batch["frames"], batch["boxes"], batch["clips"])
        put = exact_splice if self.exact else splice
        return put(self.lm.get_input_embeddings(), visual_ND, batch["plan"])

    def states(self, batch: dict[str, Any]) -> list[Tensor]:
        """Hidden states of a training batch, see backbones/decoder.py."""
        plan = batch["plan"]
        mask = plan["mask"] if self.exact or not self.training else None
        return hidden_states(self.lm, self.embedded(batch), mask_BS=mask)

    def forward(self, batch: dict[str, Any]) -> Output:
        """Training losses; a batch without answers or without real video frames has 0 in that loss.

        Changed: the official code divides 0 by 0 there.
        """
        states = self.states(batch)
        losses = {"llm": self.llm_loss(states[-1], batch["plan"])}
        if self.teacher is not None:
            compute = exact_alignment_loss if self.exact else alignment_loss
            loss = states[-1].sum() * 0.0
            if len(batch["plan"]["align_rows"]):
                teacher_MC = self.teacher_features(batch).flatten(0, 1)
                loss = compute(self.video_tower_compressor, states, teacher_MC, batch["plan"], layers=self.layers)
            losses["alignment"] = self.config.alignment * loss
        return Output(losses=losses, counts=self.supervised_counts(batch))

    def llm_loss(self, hidden_BSD: Tensor, plan: dict[str, Tensor]) -> Tensor:
        """Mean cross-entropy of the trained tokens; logits are made for these only.

        Changed: in float32; the official loss stays in bfloat16, which only adds noise.
        """
        if not len(plan["targets"]):
            return hidden_BSD.sum() * 0.0
        logits_MV = self.lm.lm_head(hidden_BSD.flatten(0, 1)[plan["predict_rows"]])
        return F.cross_entropy(logits_MV.float(), plan["targets"])

    def teacher_features(self, batch: dict[str, Any]) -> Tensor:
        """(F, patches, C) of the videos' frames; pictures are not aligned."""
        frames, boxes = batch["teacher_frames"], batch["teacher_boxes"]
        pictures = self._pixels(frames, boxes).to(self.teacher.pre_layrnorm.weight.dtype)
        return self.teacher(pictures, clip_frames=self.config.num_frames)

    def supervised_counts(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Trained tokens, and real frames of videos."""
        plan = batch["plan"]
        counts = {"llm": torch.tensor(len(plan["targets"]), device=plan["targets"].device)}
        return counts | ({"alignment": plan["align_frames"]} if self.teacher is not None else {})

    @torch.no_grad()
    def generate(self, batch: dict[str, Any], *, max_new_tokens: int | None = None, num_beams: int = 1) -> list[str]:
        """Greedy answers, as published; beams are a ConfigError.

        The visual prefix of a clip is computed once for all its questions in the batch.
        """
        if num_beams != 1:
            raise ConfigError(f"task.generation.num_beams: {num_beams}, but Video-Panda answers greedily; set it to 1")
        made = self.generate_ids(batch, max_new_tokens=max_new_tokens)
        tokenizer = batch["tokenizer"]
        return [tokenizer.decode(ids).strip().removesuffix("</s>").strip() for ids in made]

    @torch.no_grad()
    def generate_ids(self, batch: dict[str, Any], *, max_new_tokens: int | None = None) -> list[list[int]]:
        """The same as ids, the one that ended the answer included.

        Changed: the official code answers one question at a time and computes the video anew for each.
        """
        tokenizer, eos = batch["tokenizer"], batch.get("eos_id")

        def finished(ids: list[int]) -> bool:
            return ids[-1] == eos or (tokenizer is not None and stops(ids, tokenizer))

        embed = self.lm.get_input_embeddings()
        return greedy_after_prefix(
            self.lm,
            self.embedded(batch),
            batch["plan"]["mask"],
            embed(batch["question_ids"]),
            batch["question_mask"],
            batch["owner"],
            max_new_tokens=max_new_tokens or self.config.max_new_tokens,
            finished=finished,
        )

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """What trains in this stage, in the module's order."""
        return {name: one for name, one in self.named_parameters() if one.requires_grad}

    def learning_rate_factors(self) -> dict[str, float]:
        """Name of a trained parameter -> factor on the run's learning rate."""
        own = self.config.learning_rates
        rates = {"video_tower.": own.tower, "video_tower_compressor.": own.tower, "video_projector.": own.projector}
        return {
            name: next((rate for start, rate in rates.items() if name.startswith(start)), 1.0)
            for name in self.trained_parameters()
        }

    def export_state(self) -> dict[str, Tensor]:
        """The visual part, and the language model where it trains, under the released names."""
        whole = any(parameter.requires_grad for parameter in self.lm.parameters())
        return {
            official_name(name): tensor
            for name, tensor in own_tensors(self).items()
            if whole or name.startswith(VISUAL)
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """A checkpoint's weights: the visual part completely, the language model completely or not at all."""
        if not any(name.startswith("model.layers.") for name in state):
            language = {official_name(n): t for n, t in own_tensors(self).items() if not n.startswith(VISUAL)}
            state = {**language, **state}
        load_start(self, state, where="the checkpoint")

    def _pixels(self, frames: Tensor, boxes: Sequence[Box]) -> Tensor:
        if frames.dtype != torch.uint8:
            return frames
        real = torch.tensor([not box.empty for box in boxes], device=frames.device)
        return pixels(frames, real).to(self.video_tower.patch_embedding.weight.dtype)


__all__ = ["HEAD", "VideoPanda"]
