"""TOPA: Extending Large Language Models for Video Understanding via Text-Only Pre-Alignment (arXiv 2405.13911).

Trained on CLIP text features of written "videos", used on CLIP image features: at inference these are moved to the text
side by a support memory. Each training step learns either multiple choice or captions.

Shape letters: B samples, O options, R rows, T positions, D width of the LM, F frames, E width of a visual feature,
G generated tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidalign.backbones.generate import greedy
from vidalign.backbones.option_scores import mean_token_loss, option_losses
from vidalign.backbones.video_lm import VideoLM, build_video_lm, row_starts
from vidalign.common.output import Output
from vidalign.common.sample import DatasetInfo
from vidalign.media.spec import MediaSpec
from vidalign.models.base import OptionScores
from vidalign.models.topa.cross_modal import SupportMemory
from vidalign.models.topa.generation import Speaker, SpeakingProcessor
from vidalign.models.topa.keys import load_released
from vidalign.models.topa.plan import plan_training
from vidalign.models.topa.processor import PromptProcessor, build_processor, tokenizer_of
from vidalign.models.topa.projected import ProjectedVideos
from vidalign.models.topa.prompts import video_end
from vidalign.models.topa.similarity import similarity

STREAMS = ("vqa", "caption")


class TOPA(nn.Module):
    """A batch of prompts and features -> losses "vqa" and "caption", of which one is 0 in every micro-batch."""

    abilities: ClassVar[frozenset[str]] = frozenset({"score_options", "generate"})
    batches_by_ability: ClassVar[bool] = True

    def __init__(
        self,
        video_lm: VideoLM,
        config: Any,
        *,
        memory: SupportMemory | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        super().__init__()
        self.video_lm, self.config, self.memory, self.cache_dir = video_lm, config, memory, cache_dir
        kept = cache_dir / "topa" if cache_dir is not None else None
        self._speaker: Speaker | None = None
        self.projected = ProjectedVideos(memory, kept) if memory is not None and config.memory.cache else memory

    @classmethod
    def from_config(cls, config: Any, *, dtype: torch.dtype | None = None, cache_dir: Path | str | None = None) -> TOPA:
        """From TOPAConfig; loads the frozen LM. `dtype` of the frozen weights overrides `config.llm.dtype`."""
        own = config.memory
        memory = None
        if own.path is not None:
            memory = SupportMemory(
                own.path,
                width=config.visual_dim,
                rows=own.rows,
                temperature=own.temperature,
                chunk_rows=own.chunk_rows,
                top_k=own.top_k,
            )
            memory.check()
        video_lm = build_video_lm(config, dtype=dtype)
        return cls(video_lm, config, memory=memory, cache_dir=Path(cache_dir) if cache_dir else None)

    def media_spec(self) -> MediaSpec:
        """F rows of CLIP features, the official floor rule, zero rows when there are fewer."""
        return MediaSpec(kind="features", num_frames=self.config.num_frames, feature_dim=self.config.visual_dim)

    def processor(
        self, info: DatasetInfo, *, train: bool, seed: int, ability: str = "score_options"
    ) -> PromptProcessor | SpeakingProcessor:
        """Prompts of this model for one benchmark."""
        if ability == "generate" and not train:
            tokenizer = tokenizer_of(self.config, self.cache_dir)
            return SpeakingProcessor(
                tokenizer,
                info=info,
                num_frames=self.config.num_frames,
                max_seq_len=self.config.eval_max_seq_len or self.config.max_seq_len,
                newline_id=video_end(tokenizer),
                caption_prompt=self.config.caption_prompt,
            )
        return build_processor(self.config, info, train=train, seed=seed, cache_dir=self.cache_dir)

    def checkpoint_blocks(self) -> list[nn.Module]:
        """The modules that activation checkpointing wraps."""
        return self.video_lm.checkpoint_blocks()

    def forward(self, batch: dict[str, Any]) -> Output:
        """Training losses. batch["mode"] names the stream that this micro-batch learns; the other's loss is 0.

        The memory takes no part in training: there the frames are text (pre-alignment), or are to be learned as they
        are (fine-tuning).
        """
        plan = self._plan(batch)
        mode, stream = batch["mode"], self._stream(batch, batch["mode"])
        tokens_BFD, _ = self.video_lm.video(self._seen(batch["video"]))
        embedded_RTD = self.video_lm.embed(stream, tokens_BFD)
        [hidden] = self.video_lm.hidden([embedded_RTD], [row_starts(stream)], packing=plan["packing"])
        logits_NV = self.video_lm.logits(hidden, plan["rows_N"])
        logits_NV = logits_NV if self.video_lm.exact else logits_NV.float()
        loss = F.cross_entropy(logits_NV, plan["target_N"], ignore_index=0)
        weight, logs = 1.0, {}
        if mode == "caption":
            weight, logs = self.config.losses.caption, {"caption_unweighted": loss.detach()}
        losses = {name: weight * loss if name == mode else loss.new_zeros(()) for name in STREAMS}
        return Output(losses=losses, counts=self._counts(plan, mode), logs=logs)

    def supervised_counts(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Supervised items behind each loss, known before the forward pass."""
        return self._counts(self._plan(batch), batch["mode"])

    @torch.no_grad()
    def score_options(self, batch: dict[str, Any]) -> OptionScores:
        """scores: minus the mean token loss of each option's letter, or of its text, or the similarity of its text to
        the model's own answer (config.select)."""
        if self.config.select == "similarity":
            return OptionScores(self._similarity(batch))
        name = "vqa" if self.config.select == "letter" else "caption"
        stream = self._stream(batch, name)
        seen = {**batch, name: stream, "video": self.video_input(batch["video"])}
        token_ce, _, _ = option_losses(self.video_lm, seen, bias_start_B=stream["video_start"], name=name)
        scores = -mean_token_loss(token_ce)
        exists_BO = batch[name]["lengths"] > 0
        return OptionScores(scores.masked_fill(~exists_BO, float("-inf")), extras={"token_ce": token_ce})

    @torch.no_grad()
    def video_input(self, video_BFE: Tensor) -> Tensor:
        """What enters the visual projection at inference: frames moved to the text side by the memory, if there is one.

        Kept: padding is moved too, to the memory's mean. [eval_mcq_memory]
        """
        return self._seen(video_BFE if self.projected is None else self.projected.project(video_BFE))

    @torch.no_grad()
    def continue_greedily(
        self,
        video_BFE: Tensor,
        before_BT: Tensor,
        after_BT: Tensor,
        *,
        steps: int,
        banned: Sequence[int] = (),
        stop: Sequence[int] = (),
    ) -> tuple[Tensor, Tensor]:
        """Token ids before and after the video rows -> (generated ids (B, G), their logits (B, G, V)).

        Frames are normalised again on the way, as in the official demos. [generate_msrvtt, generate_vatex]
        """
        video_BFE = F.normalize(self.video_input(F.normalize(video_BFE.float(), dim=-1)), dim=-1)
        return self._continue(video_BFE, before_BT, after_BT, steps=steps, banned=banned, stop=stop)

    def _continue(
        self, video_BFE: Tensor, before_BT: Tensor, after_BT: Tensor, **settings: Any
    ) -> tuple[Tensor, Tensor]:
        tokens_BFD, _ = self.video_lm.video(video_BFE)
        llm = self.video_lm.llm
        x_BTD = torch.cat([llm.embed(before_BT), tokens_BFD, llm.embed(after_BT)], dim=1)
        start_B = before_BT.new_full((len(before_BT),), before_BT.shape[1])
        prompts = self.video_lm.adapter.prompts(dtype=llm.dtype, video_start_R=start_B)
        return greedy(llm, x_BTD, prompts=prompts, **settings)

    def _similarity(self, batch: dict[str, Any]) -> Tensor:
        """(B, O) cosine of each option to the answer that the model writes to the open question."""
        asked, video_BFE = batch["open"], self.video_input(batch["video"])
        scores = video_BFE.new_full((len(video_BFE), max(map(len, asked["options"]))), float("-inf"))
        for b, options in enumerate(asked["options"]):
            # One at a time: rows of different lengths cannot share a cache.
            prompt = asked["before"][None], asked["after"][b][None]
            [answer_T], _ = self._continue(
                video_BFE[b : b + 1], *prompt, steps=self.config.similarity.steps, stop=(asked["end"],)
            )
            said_T = answer_T[answer_T != asked["end"]]
            scores[b, : len(options)] = similarity(self.video_lm.llm.embeddings, said_T, options)
        return scores

    @torch.no_grad()
    def generate(self, batch: dict[str, Any], *, max_new_tokens: int | None = None, num_beams: int = 1) -> list[str]:
        """A caption, an answer, or the letter of an option, by what the benchmark asks."""
        if self._speaker is None:
            self._speaker = Speaker(tokenizer_of(self.config, self.cache_dir))
        video_BFE = batch["video"]
        video_BFE = self.video_input(video_BFE) if batch["demo"].memory else self._seen(video_BFE)
        # Kept: normalised once more on the way, as in the demos; zero rows stay zero.
        video_BFE = F.normalize(video_BFE, dim=-1)
        return self._speaker.texts(self.video_lm, batch, video_BFE, steps=max_new_tokens, beams=num_beams)

    def export_state(self) -> dict[str, Tensor]:
        """The trained part under the released names."""
        return dict(self.video_lm.adapter.state_dict())

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Load a released or own checkpoint completely; those of LLaMA-VQA fit too."""
        load_released(self.video_lm.adapter, state)

    def _seen(self, video_BFE: Tensor) -> Tensor:
        return torch.zeros_like(video_BFE) if self.config.blind else video_BFE

    def _stream(self, batch: dict[str, Any], name: str) -> dict[str, Tensor]:
        """A stream with the video's place of each row; `video_start: first` takes the first sample's for all.

        Changed: the official code always does that, which writes video rows over text where summaries and open-ended
        rows are mixed; equal elsewhere. [train_caption_mixed]
        """
        stream = batch[name]
        if self.config.video_start == "first":
            stream = {**stream, "video_start": stream["video_start"][:1].expand_as(stream["video_start"])}
        return stream

    def _plan(self, batch: dict[str, Any]) -> dict[str, Any]:
        return batch["plan"] if "plan" in batch else plan_training(batch[batch["mode"]])

    def _counts(self, plan: dict[str, Tensor], mode: str) -> dict[str, Tensor]:
        count = (plan["target_N"] != 0).sum()
        return {name: count if name == mode else torch.zeros_like(count) for name in STREAMS}
