"""SeViLA: Self-Chained Image-Language Model for Video Localization and Question Answering (arXiv 2305.06988).

ViLA's parent and yardstick: a localizer asks T5 about every frame and keeps K of T, an answerer answers from them. Two
Q-Formers without text share ViT and T5. Specification vila, sections 6.3 and 6.4. Parameter names are the released
ones.
Shape letters: B samples, T frames, K kept frames, N tokens of a frame, C their width, Q queries, D width of T5, L label
tokens, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from einops import rearrange
from torch import Tensor, nn

from vidalign.backbones import flan_t5
from vidalign.backbones.flan_t5_answers import Steps, first_logits, first_steps, official_steps
from vidalign.common.output import Output
from vidalign.common.sample import DatasetInfo
from vidalign.media.spec import MediaSpec, StoredFrames
from vidalign.models.base import OptionScores
from vidalign.models.vila import tower
from vidalign.models.vila.keys import load_complete, load_start, trained_state
from vidalign.models.vila.merge import is_localizer
from vidalign.models.vila.processor import frames_spec
from vidalign.models.vila.sevila_processor import SeViLAProcessor, sevila_processor
from vidalign.models.vila.sizes import SIZES, Dims
from vidalign.models.vila.weights import load_pretrained
from vidalign.models.vila.windows import best_windows, clip_scores

LOCALIZER = ("ln_vision_loc", "Qformer_loc", "query_tokens_loc", "t5_proj_loc")
ANSWERER = ("ln_vision", "Qformer", "query_tokens", "t5_proj")
# Official `generate` of localizer and answerer.
MAX_NEW_TOKENS = 30


@dataclass
class LocalizerPass:
    """One training forward of the localizer; labels_BT is 1 where a frame helps. answers_FA: the answerer's letter
    scores of each frame, where it made the labels."""

    logits_FLV: Tensor
    loss: Tensor
    answers_FA: Tensor | None = None
    labels_BT: Tensor | None = None


@dataclass
class SeViLAAnswers:
    """One evaluation forward."""

    steps: Steps
    embeds_BMD: Tensor
    mask_BM: Tensor
    positions_BK: Tensor
    yes_BT: Tensor | None = None


class SeViLA(nn.Module):
    """A batch of frames and prompts -> the loss of the part that `config.trains` names."""

    abilities: ClassVar[frozenset[str]] = frozenset({"score_options", "locate"})
    uses_autocast: ClassVar[bool] = True

    def __init__(self, dims: Dims, config: Any, *, t5: nn.Module, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.config, self.cache_dir, self.exact = config, None, config.attention == "exact"
        self.max_new_tokens = MAX_NEW_TOKENS
        self.visual_encoder = tower.build_vit(dims, dtype=dtype, exact=self.exact)
        self.t5_model = t5
        suffixes = ("_loc",) if config.trains == "localizer_pretraining" else ("", "_loc")
        for suffix in suffixes:
            qformer = tower.build_qformer(dims, text=False, dropout=config.dropout, exact=self.exact)
            self.add_module(f"ln_vision{suffix}", tower.build_norm(dims))
            self.add_module(f"Qformer{suffix}", qformer)
            self.register_parameter(f"query_tokens{suffix}", tower.start_queries(dims))
            self.add_module(f"t5_proj{suffix}", nn.Linear(dims.qformer_dim, dims.t5["d_model"]))
        # Changed: officially the frozen side's projection keeps its gradient flag; it runs without gradient anyway.
        for name, parameter in self.named_parameters():
            frozen = LOCALIZER if config.trains == "answerer" else ANSWERER
            if name.split(".")[0] in frozen:
                parameter.requires_grad_(False)

    @classmethod
    def from_config(
        cls, config: Any, *, dtype: torch.dtype | None = None, cache_dir: Path | str | None = None
    ) -> SeViLA:
        """From SeViLAConfig; loads the pretrained parts. dtype: of the frozen ones."""
        model = cls.build(SIZES[config.size], config, dtype=dtype or torch.float32)
        model.cache_dir = Path(cache_dir) if cache_dir else None
        load_pretrained(model, config.weights, load_start=load_both)
        return model

    @classmethod
    def build(cls, dims: Dims, config: Any, *, dtype: torch.dtype = torch.float32) -> SeViLA:
        """With random weights at any dims."""
        t5 = tower.build_t5(dims, dtype=dtype, dropout=config.dropout, exact=config.attention == "exact")
        flan_t5.freeze(t5)
        return cls(dims, config, t5=t5, dtype=dtype)

    def media_spec(self) -> MediaSpec:
        """T frames; random ones and a random box in training."""
        return frames_spec(self.config)

    def stored_frames(self, *, train: bool) -> StoredFrames | None:
        """The ViT's outputs in place of frames, where `config.store` wants them."""
        return tower.stored_frames(self.visual_encoder, self.config, train=train)

    def processor(self, info: DatasetInfo, *, train: bool, seed: int) -> SeViLAProcessor:
        """Prompts of this model for one benchmark."""
        return sevila_processor(self.config, info, train=train, cache_dir=self.cache_dir)

    def checkpoint_blocks(self) -> list[nn.Module]:
        """The modules that activation checkpointing wraps."""
        t5 = flan_t5.unwrapped(self.t5_model)
        formers = [getattr(self, name) for name in ("Qformer", "Qformer_loc") if hasattr(self, name)]
        return [layer for former in formers for layer in former.bert.encoder.layer] + list(t5.encoder.block)

    def forward(self, batch: dict[str, Any]) -> Output:
        """The loss "answer" (answerer) or "frames" (localizer)."""
        if self.config.trains == "answerer":
            return Output({"answer": self.answerer_pass(batch)[1]}, counts=self.supervised_counts(batch))
        done = self.localizer_pass(batch)
        return Output({"frames": done.loss}, counts=self.supervised_counts(batch))

    def supervised_counts(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Label tokens, or frames."""
        if self.config.trains == "answerer":
            return {"answer": (batch["target_ids"] != -100).sum()}
        frames = (batch["features"] if "features" in batch else batch["video"]).shape[:2]
        return {"frames": torch.tensor(frames.numel())}

    def answerer_pass(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """(logits (B, L, V), loss) of the true answer from the frames that the frozen localizer keeps."""
        seen_BTNC = tower.look(self.visual_encoder, batch)
        positions, _ = self.keep(seen_BTNC, batch, scored=False)
        embeds, mask = self.answer_input(seen_BTNC, positions, batch)
        return self._teacher_forced(embeds, mask, batch["target_ids"], batch["target_mask"])

    def localizer_pass(self, batch: dict[str, Any]) -> LocalizerPass:
        """Yes or no for each frame: given ("frame_labels"), or whether the frozen answerer is right from it alone."""
        seen_BTNC = tower.look(self.visual_encoder, batch)
        answers, labels = None, batch.get("frame_labels")
        if labels is None:
            answers = self.frame_answers(seen_BTNC, batch)
            right_F = answers.argmax(dim=1) == batch["answer_idx"].repeat_interleave(seen_BTNC.shape[1])
            labels = rearrange(right_F.long(), "(b t) -> b t", t=seen_BTNC.shape[1])
        words = batch["yes_no_ids"]
        target_FL = words[1 - labels.flatten()]
        target_FL = torch.cat([target_FL[:, None], torch.ones_like(target_FL)[:, None]], dim=1)
        embeds, mask = self.frame_input(seen_BTNC, batch, suffix="_loc", prompt="loc")
        logits, loss = self._teacher_forced(embeds, mask, target_FL)
        return LocalizerPass(logits, loss, answers, labels)

    @torch.no_grad()
    def frame_answers(self, seen_BTNC: Tensor, batch: dict[str, Any]) -> Tensor:
        """Letter scores (B * T, letters) of the answerer from each frame alone, after the true "Option"."""
        embeds, mask = self.frame_input(seen_BTNC, batch, suffix="", prompt="prompt")
        frames = seen_BTNC.shape[1]
        labels = batch["target_ids"].repeat_interleave(frames, dim=0)
        logits, _ = self._teacher_forced(embeds, mask, labels, batch["target_mask"].repeat_interleave(frames, dim=0))
        return logits[:, 1, batch["letter_ids"]]

    @torch.no_grad()
    def score_options(self, batch: dict[str, Any]) -> OptionScores:
        """scores of the letters that exist, at the second decoder step."""
        answers = self.answer(batch, scored=False)
        scores = answers.steps.scores[1][:, batch["letter_ids"]]
        exists = torch.arange(scores.shape[1], device=scores.device) < batch["num_options"][:, None]
        return OptionScores(scores.masked_fill(~exists, float("-inf")), kept_positions=answers.positions_BK)

    @torch.no_grad()
    def answer(self, batch: dict[str, Any], *, scored: bool = True) -> SeViLAAnswers:
        """Localizer, then answerer. `scored`: see `keep`."""
        seen_BTNC = tower.look(self.visual_encoder, batch)
        positions, yes = self.keep(seen_BTNC, batch, scored=scored)
        embeds, mask = self.answer_input(seen_BTNC, positions, batch)
        encoded = flan_t5.encode(self.t5_model, embeds, mask)
        settings = {"penalty": self.config.repetition_penalty}
        if self.exact:
            steps = official_steps(self.t5_model, encoded, mask, max_new_tokens=self.max_new_tokens, **settings)
        else:
            steps = first_steps(self.t5_model, encoded, mask, **settings)
        return SeViLAAnswers(steps, embeds, mask, positions, yes)

    @torch.no_grad()
    def locate(self, batch: dict[str, Any]) -> dict[str, Any]:
        """{"windows": per sample (start, end, score) in seconds, best first; "saliency": a number per clip}.

        New work, not a reproduction: the official code stops at yes or no per frame (specification vila, 6.3).
        """
        no_yes = self.frame_logits(tower.look(self.visual_encoder, batch), batch)
        shares = no_yes.softmax(dim=-1)[..., 1].float().cpu().tolist()
        rows = list(zip(shares, batch["duration_seconds"].tolist(), strict=True))
        return {
            "windows": [best_windows(share, seconds) for share, seconds in rows],
            "saliency": [clip_scores(share, seconds, batch["clip_seconds"]) for share, seconds in rows],
        }

    @torch.no_grad()
    def keep(self, seen_BTNC: Tensor, batch: dict[str, Any], *, scored: bool) -> tuple[Tensor, Tensor | None]:
        """(positions (B, K) of the kept frames in temporal order, yes-scores (B, T) of the localizer).

        Without `scored` the localizer looks only where its scores decide, not where all frames are kept anyway.
        """
        frames = seen_BTNC.shape[1]
        kept = min(self.config.frames_kept, frames)
        if self.config.selection == "uniform" or (kept == frames and not scored):
            middle = [(2 * k + 1) * frames // (2 * kept) for k in range(kept)]
            return torch.tensor(middle, device=seen_BTNC.device).expand(len(seen_BTNC), -1), None
        yes_BT = self.frame_logits(seen_BTNC, batch)[..., 1]
        return yes_BT.topk(kept, dim=1).indices.sort(dim=1).values, yes_BT

    @torch.no_grad()
    def frame_logits(self, seen_BTNC: Tensor, batch: dict[str, Any]) -> Tensor:
        """(B, T, 2): logits of "no" and "yes" as first word about each frame. `exact`: frame by frame, `generate`."""
        words = batch["yes_no_ids"].flip(0)
        if self.exact:
            parts = []
            for t in range(seen_BTNC.shape[1]):
                embeds, mask = self.frame_input(seen_BTNC[:, t : t + 1], batch, suffix="_loc", prompt="loc")
                encoded = flan_t5.encode(self.t5_model, embeds, mask)
                steps = official_steps(self.t5_model, encoded, mask, max_new_tokens=self.max_new_tokens)
                parts.append(steps.scores[0][:, words])
            return torch.stack(parts, dim=1)
        embeds, mask = self.frame_input(seen_BTNC, batch, suffix="_loc", prompt="loc")
        found = first_logits(self.t5_model, flan_t5.encode(self.t5_model, embeds, mask), mask, words)
        return rearrange(found, "(b t) w -> b t w", t=seen_BTNC.shape[1])

    @torch.no_grad()
    def frame_answer(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """(logits of "no" and "yes" (B, T, 2), the larger one's place (B, T)): what the official evaluation counts."""
        no_yes = self.frame_logits(tower.look(self.visual_encoder, batch), batch)
        return no_yes, no_yes.argmax(dim=-1)

    def frame_input(
        self, seen_BTNC: Tensor, batch: dict[str, Any], *, suffix: str, prompt: str
    ) -> tuple[Tensor, Tensor]:
        """["Frame: "; visual tokens; prompt] of every frame alone: rows B * T."""
        frames = seen_BTNC.shape[1]
        tokens_FQD = rearrange(self.tokens(seen_BTNC, suffix=suffix), "b t q d -> (b t) q d")
        text = tuple(batch[f"{prompt}_{name}"].repeat_interleave(frames, dim=0) for name in ("ids", "mask"))
        prefix = batch["frame_prefix_ids"][None]
        return tower.t5_input(self.t5_model, [(prefix, torch.ones_like(prefix)), tokens_FQD, text])

    def answer_input(self, seen_BTNC: Tensor, positions_BK: Tensor, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """["Frame 1: "; its tokens; "Frame 2: "; ...; prompt]."""
        index = positions_BK[:, :, None, None].expand(-1, -1, *seen_BTNC.shape[2:])
        tokens_BKQD = self.tokens(seen_BTNC.gather(1, index), suffix="")
        parts: list[Any] = []
        for number, (ids, mask) in enumerate(zip(batch["number_ids"], batch["number_mask"], strict=True)):
            parts += [(ids[None], mask[None]), tokens_BKQD[:, number]]
        return tower.t5_input(self.t5_model, [*parts, (batch["prompt_ids"], batch["prompt_mask"])])

    def tokens(self, seen_BTNC: Tensor, *, suffix: str) -> Tensor:
        """Visual tokens (B, T, Q, D) of one side: "" the answerer, "_loc" the localizer."""
        norm, qformer, proj = (getattr(self, f"{name}{suffix}") for name in ("ln_vision", "Qformer", "t5_proj"))
        queries = getattr(self, f"query_tokens{suffix}")
        return tower.frame_tokens(qformer, queries, proj, norm(seen_BTNC), exact=self.exact)

    def export_state(self) -> dict[str, Tensor]:
        """Both sides under the released names."""
        return trained_state(self)

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Load a checkpoint of ours or of the official code completely."""
        load_complete(self, state)

    def _teacher_forced(
        self, embeds: Tensor, mask: Tensor, labels: Tensor, label_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        encoded = flan_t5.encode(self.t5_model, embeds, mask)
        logits = flan_t5.logits(
            self.t5_model, flan_t5.hidden_of_labels(self.t5_model, encoded, mask, labels, label_mask)
        )
        return logits, flan_t5.label_loss(logits, labels)


def load_both(model: nn.Module, state: dict[str, Tensor], *, where: str) -> list[str]:
    """SeViLA's own file, or BLIP-2's, whose one Q-Former becomes both (SeViLA's start before its pretraining)."""
    if any(is_localizer(name) for name in state):
        return load_start(model, state, where=where)
    sides = dict(state)
    for name, value in state.items():
        head, dot, rest = name.partition(".")
        if head in ANSWERER:
            sides[f"{head}_loc{dot}{rest}"] = value
    if not hasattr(model, "Qformer"):
        sides = {name: value for name, value in sides.items() if name.split(".")[0] not in ANSWERER}
    return [f"{where} has no localizer; it starts as a copy of the answerer", *load_start(model, sides, where=where)]
