"""ViLA: Efficient Video-Language Alignment for Video Question Answering (arXiv 2312.08367).

A Frame-Prompter keeps S of T frames; a QFormer-Distiller makes the student's tokens imitate those of all T frames;
only the student's reach T5. Without selector and teacher it is `vila_ori`, with LoRA factors in T5 `vila_lora`.
Specification vila, sections 2 and 3. Parameter names are the released ones.
Shape letters: B samples, T frames, S kept frames, K = T / S, N tokens of a frame, C their width, Q queries, D width of
T5, L label tokens, V vocabulary.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vidalign.backbones import flan_t5
from vidalign.backbones.flan_t5_answers import MAX_NEW_TOKENS, Steps, first_steps, official_steps
from vidalign.common.output import Output
from vidalign.common.rng import draw_seed
from vidalign.common.sample import DatasetInfo
from vidalign.media.spec import MediaSpec, StoredFrames
from vidalign.models.base import OptionScores
from vidalign.models.vila import tower
from vidalign.models.vila.frame_prompter import (
    EVAL_TEMPERATURE,
    FramePrompter,
    Selection,
    annealed_temperature,
    take,
)
from vidalign.models.vila.keys import load_complete, trained_state
from vidalign.models.vila.processor import LetterProcessor, frames_spec, letter_processor
from vidalign.models.vila.qformer_distiller import TokenDecoder, decoded_distance, mean_distance
from vidalign.models.vila.sizes import SIZES, Dims
from vidalign.models.vila.weights import load_pretrained


@dataclass
class TrainingPass:
    """What one training forward computed. Losses are unweighted; None where a variant has no such part."""

    features_BTNC: Tensor
    tokens_BSQD: Tensor
    logits_BLV: Tensor
    loss_ce: Tensor
    selection: Selection | None = None
    teacher_BMD: Tensor | None = None
    decoded_BMD: Tensor | None = None
    loss_dist: Tensor | None = None
    loss_teacher: Tensor | None = None


@dataclass
class Answers:
    """What one evaluation forward computed."""

    steps: Steps
    embeds_BMD: Tensor
    mask_BM: Tensor
    selection: Selection | None = None


class ViLA(nn.Module):
    """A batch of frames and prompts -> losses "answer" and "distill" ("teacher" where it is trained too)."""

    abilities: ClassVar[frozenset[str]] = frozenset({"score_options"})
    uses_autocast: ClassVar[bool] = True

    def __init__(self, dims: Dims, config: Any, *, t5: nn.Module, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.config, self.cache_dir, self.temperature = config, None, 1.0
        self.exact, self.max_new_tokens = config.attention == "exact", MAX_NEW_TOKENS
        text = dims.qformer_vocab is not None
        t5_dim = dims.t5["d_model"]

        def qformer() -> nn.Module:
            return tower.build_qformer(dims, text=text, dropout=config.dropout, exact=self.exact)

        self.visual_encoder = tower.build_vit(dims, dtype=dtype, exact=self.exact)
        self.ln_vision = tower.build_norm(dims)
        self.Qformer = qformer()
        self.query_tokens = tower.start_queries(dims)
        self.t5_model = t5
        self.t5_proj = nn.Linear(dims.qformer_dim, t5_dim)
        self.frames_kept = getattr(config, "frames_kept", None)
        if self.frames_kept is None:
            return
        self.fs = FramePrompter(
            num_frames=config.num_frames,
            num_kept=self.frames_kept,
            num_tokens=dims.num_tokens,
            gradient=config.selector.gradient,
        )
        if config.selector.zero_bias:
            nn.init.zeros_(self.fs.conv_pool.bias)
        # Kept: with a shared Q-Former `Qformer_T` is dead weight; the released layout has it. [vila_train]
        self.Qformer_T = qformer().requires_grad_(False)
        self.query_tokens_T = tower.start_queries(dims)
        self.t5_proj_T = nn.Linear(dims.qformer_dim, t5_dim)
        self.dist_fc_bn = TokenDecoder(self.frames_kept * dims.num_queries, config.num_frames * dims.num_queries)
        # Changed: officially they are trainable, but without a gradient nothing happens to them (spec vila, trap 1).
        trained = config.distill.teacher == "trained"
        self.query_tokens_T.requires_grad_(trained)
        self.t5_proj_T.requires_grad_(trained)

    @classmethod
    def from_config(cls, config: Any, *, dtype: torch.dtype | None = None, cache_dir: Path | str | None = None) -> ViLA:
        """From ViLAConfig, ViLAOriConfig or ViLALoRAConfig; loads the pretrained parts. dtype: of the frozen ones."""
        dims, dtype = SIZES[config.size], dtype or torch.float32
        model = cls.build(dims, config, dtype=dtype)
        model.cache_dir = Path(cache_dir) if cache_dir else None
        load_pretrained(model, config.weights)
        return model

    @classmethod
    def build(cls, dims: Dims, config: Any, *, dtype: torch.dtype = torch.float32) -> ViLA:
        """With random weights at any dims."""
        exact = config.attention == "exact"
        t5 = tower.build_t5(dims, dtype=dtype, dropout=config.dropout, exact=exact)
        flan_t5.freeze(t5)
        lora = getattr(config, "lora", None)
        if lora is not None:
            # Changed: officially T5 stays float32 here, at twice the memory; ours has the run's precision.
            t5 = flan_t5.add_lora(t5, rank=lora.rank, alpha=lora.alpha, dropout=lora.dropout)
        return cls(dims, config, t5=t5, dtype=dtype)

    def media_spec(self) -> MediaSpec:
        """T frames, one per interval; a random frame and a random box in training."""
        return frames_spec(self.config)

    def stored_frames(self, *, train: bool) -> StoredFrames | None:
        """The ViT's outputs in place of frames, where `config.store` wants them."""
        return tower.stored_frames(self.visual_encoder, self.config, train=train)

    def processor(self, info: DatasetInfo, *, train: bool, seed: int) -> LetterProcessor:
        """Prompts of this model for one benchmark."""
        return letter_processor(self.config, info, train=train, seed=seed, cache_dir=self.cache_dir)

    def learning_rate_factors(self) -> dict[str, float]:
        """Name of a trained parameter -> factor on the run's learning rate."""
        own = {}
        if self.frames_kept is not None:
            own = {"fs": self.config.selector.rate, "dist_fc_bn": self.config.distill.rate}
        trained = [name for name, parameter in self.named_parameters() if parameter.requires_grad]
        return {name: own.get(name.split(".")[0], 1.0) for name in trained}

    def checkpoint_blocks(self) -> list[nn.Module]:
        """The modules that activation checkpointing wraps."""
        t5 = flan_t5.unwrapped(self.t5_model)
        return [*self.Qformer.bert.encoder.layer, *t5.encoder.block]

    def set_position(self, position: float, iterations_per_epoch: int) -> None:
        """Where the run stands, in epochs: decides the temperature of the frame choice."""
        fixed = None if self.frames_kept is None else self.config.selector.temperature
        self.temperature = annealed_temperature(position, iterations_per_epoch) if fixed is None else fixed

    def train(self, mode: bool = True) -> ViLA:
        """A separate teacher never leaves evaluation mode."""
        super().train(mode)
        if self.frames_kept is not None:
            self.Qformer_T.eval()
        return self

    def forward(self, batch: dict[str, Any]) -> Output:
        """Training losses."""
        done = self.training_pass(batch)
        losses = {"answer": done.loss_ce}
        if done.loss_teacher is not None:
            losses["teacher"] = done.loss_teacher
        if done.loss_dist is not None:
            losses["distill"] = self.config.distill.weight * done.loss_dist
        logs = {} if done.selection is None else {"temperature": done.loss_ce.new_tensor(self.temperature)}
        return Output(losses=losses, counts=self.supervised_counts(batch), logs=logs)

    def training_pass(self, batch: dict[str, Any]) -> TrainingPass:
        """Student, teacher and distance, with everything on the way."""
        x_BTNC = self.features(batch)
        selection = self.select(x_BTNC, batch)
        seen = x_BTNC if selection is None else selection.tokens_BSNC
        tokens = self.tokens(seen, batch)
        logits, loss = self.answer_loss(tokens, batch)
        done = TrainingPass(x_BTNC, tokens, logits, loss, selection)
        if selection is None or self.config.distill.target == "none":
            return done
        if self.config.distill.teacher == "trained":
            teacher = self.teacher_tokens(x_BTNC, batch)
            done.loss_teacher = self.answer_loss(teacher, batch)[1]
        else:
            with torch.no_grad():
                teacher = self.teacher_tokens(x_BTNC, batch)
        done.teacher_BMD, student = tower.join_tokens(teacher), tower.join_tokens(tokens)
        if self.config.distill.target == "mean":
            done.loss_dist = mean_distance(done.teacher_BMD, student)
        else:
            done.decoded_BMD = self.dist_fc_bn(student)
            done.loss_dist = decoded_distance(done.teacher_BMD, done.decoded_BMD)
        return done

    def supervised_counts(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Label tokens behind the cross-entropies, samples behind the distance."""
        tokens = (batch["target_ids"] != -100).sum()
        counts = {"answer": tokens}
        if self.frames_kept is not None and self.config.distill.target != "none":
            counts["distill"] = tokens.new_tensor(len(batch["target_ids"]))
            if self.config.distill.teacher == "trained":
                counts["teacher"] = tokens
        return counts

    @torch.no_grad()
    def score_options(self, batch: dict[str, Any]) -> OptionScores:
        """scores: of the letters A to E at the second decoder step.

        Kept: all five letters compete whatever options there are, unless config.restrict_options. [vila_eval]
        """
        answers = self.answer(batch)
        scores = self.letter_scores(answers.steps, batch)
        kept = None if answers.selection is None else answers.selection.positions_BS
        return OptionScores(scores, kept_positions=kept)

    def letter_scores(self, steps: Steps, batch: dict[str, Any]) -> Tensor:
        """(B, 5), -inf where an option does not exist and may not compete."""
        scores = steps.scores[1][:, batch["letter_ids"]]
        if self.config.restrict_options:
            exists = torch.arange(scores.shape[1], device=scores.device) < batch["num_options"][:, None]
            scores = scores.masked_fill(~exists, float("-inf"))
        return scores

    @torch.no_grad()
    def answer(self, batch: dict[str, Any]) -> Answers:
        """The decoder's first steps; `exact` generates to the end without a cache, as the official code does."""
        x_BTNC = self.features(batch)
        selection = self.select(x_BTNC, batch)
        tokens = self.tokens(x_BTNC if selection is None else selection.tokens_BSNC, batch)
        embeds, mask = self.t5_input(tokens, batch)
        encoded = flan_t5.encode(self.t5_model, embeds, mask)
        settings = {"penalty": self.config.repetition_penalty}
        if self.exact:
            steps = official_steps(self.t5_model, encoded, mask, max_new_tokens=self.max_new_tokens, **settings)
        else:
            steps = first_steps(self.t5_model, encoded, mask, **settings)
        return Answers(steps, embeds, mask, selection)

    def features(self, batch: dict[str, Any]) -> Tensor:
        """ln_vision(ViT) (B, T, N, C) in float32; the norm trains, the ViT does not."""
        return self.ln_vision(tower.look(self.visual_encoder, batch))

    def select(self, x_BTNC: Tensor, batch: dict[str, Any]) -> Selection | None:
        """The frames that are kept; None in `vila_ori`, which keeps all."""
        if self.frames_kept is None:
            return None
        if self.config.selector.kind == "random":
            return take(x_BTNC, self._segment_draw(x_BTNC, batch))
        temperature = self.temperature if self.training else EVAL_TEMPERATURE
        return self.fs(x_BTNC, temperature=temperature, uniform_BSK=batch.get("gumbel_uniform"))

    def tokens(self, x_BSNC: Tensor, batch: dict[str, Any]) -> Tensor:
        """The student's visual tokens (B, S, Q, D)."""
        return self._tokens(self.Qformer, self.query_tokens, self.t5_proj, x_BSNC, batch)

    def teacher_tokens(self, x_BTNC: Tensor, batch: dict[str, Any]) -> Tensor:
        """The teacher's visual tokens of all frames (B, T, Q, D).

        Kept: it reads with the student's Q-Former, dropout included, unless told otherwise. [vila_train]
        """
        shared = self.config.distill.teacher_qformer == "shared"
        qformer = self.Qformer if shared else self.Qformer_T
        return self._tokens(qformer, self.query_tokens_T, self.t5_proj_T, x_BTNC, batch)

    def answer_loss(self, tokens_BSQD: Tensor, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """(logits (B, L, V), mean cross-entropy) of the true answer."""
        embeds, mask = self.t5_input(tokens_BSQD, batch)
        encoded = flan_t5.encode(self.t5_model, embeds, mask)
        hidden = flan_t5.hidden_of_labels(self.t5_model, encoded, mask, batch["target_ids"], batch["target_mask"])
        logits = flan_t5.logits(self.t5_model, hidden)
        return logits, flan_t5.label_loss(logits, batch["target_ids"])

    def t5_input(self, tokens_BSQD: Tensor, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """[visual tokens; prompt] and its mask."""
        visual = tower.join_tokens(tokens_BSQD)
        return tower.t5_input(self.t5_model, [visual, (batch["prompt_ids"], batch["prompt_mask"])])

    def export_state(self) -> dict[str, Tensor]:
        """The trained part and the teacher under the released names."""
        return trained_state(self)

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Load a checkpoint of ours or of the official code completely."""
        load_complete(self, state)

    def _tokens(self, qformer: nn.Module, queries: Tensor, proj: nn.Linear, x: Tensor, batch: dict[str, Any]) -> Tensor:
        # A Q-Former without words reads the picture alone, whatever the batch holds.
        text = batch if qformer.reads_text else {}
        ids, mask = text.get("question_ids"), text.get("question_mask")
        return tower.frame_tokens(qformer, queries, proj, x, ids_BL=ids, mask_BL=mask, exact=self.exact)

    def _segment_draw(self, x_BTNC: Tensor, batch: dict[str, Any]) -> Tensor:
        size = x_BTNC.shape[1] // self.frames_kept
        if not self.training:
            return torch.full((self.frames_kept,), size // 2)
        # Kept: one draw for the whole batch; ours is named by its first sample. [variant ..._dist_rs]
        draw = random.Random(draw_seed(0, 0, str(batch["uid"][0]), f"segment {self.temperature}"))
        return torch.tensor([draw.randrange(size) for _ in range(self.frames_kept)])
