"""Continuation with a key/value cache: the likeliest token at every step, or beam search.

Rows of different length stand at the right: padding columns at their left are never attended to.
Shape letters: R rows, T positions of the prompt, S positions so far, D width, G generated tokens, V vocabulary,
N beams.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vidalign.backbones.llm import FrozenCausalLM
from vidalign.backbones.prompt_attention import Prompts

BANNED = -100.0


@torch.no_grad()
def greedy(
    llm: FrozenCausalLM,
    x_RTD: Tensor,
    *,
    prompts: Prompts | None,
    steps: int,
    banned: Sequence[int] = (),
    stop: Sequence[int] = (),
    padding_R: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Embedded prompts -> (tokens (R, G), logits (R, G, V) before the ban), G <= steps.

    banned: ids whose logit is set to -100 (TOPA's demos). stop: ids after which a row is finished; the loop ends when
    all rows are, and what a finished row still gets is for the caller to cut off. padding_R: columns at the left of
    each row that are padding.
    """
    past = _Past(llm, x_RTD, prompts, padding_R)
    done_R = torch.zeros(len(x_RTD), dtype=torch.bool, device=x_RTD.device)
    stop_ids = torch.tensor(list(stop), dtype=torch.long, device=x_RTD.device)
    tokens, logits = [], []
    for step in range(steps):
        logits_RV = past.next_logits(x_RTD)
        logits.append(logits_RV)
        allowed_RV = logits_RV.clone()
        allowed_RV[:, list(banned)] = BANNED
        token_R = allowed_RV.argmax(-1)
        tokens.append(token_R)
        done_R |= torch.isin(token_R, stop_ids)
        if step + 1 == steps or (len(stop_ids) and bool(done_R.all())):
            break
        x_RTD = llm.embed(token_R[:, None])
    return torch.stack(tokens, dim=1), torch.stack(logits, dim=1)


@torch.no_grad()
def beam_search(
    llm: FrozenCausalLM,
    x_RTD: Tensor,
    *,
    prompts: Prompts | None,
    steps: int,
    beams: int,
    banned: Sequence[int] = (),
    stop: Sequence[int] = (),
    padding_R: Tensor | None = None,
    length_penalty: float = 1.0,
) -> list[list[int]]:
    """Embedded prompts -> the best continuation of each row, its stop id included, in the order of the rows.

    A finished continuation counts by its log-probability divided by length ** length_penalty, as in transformers'
    `generate(num_beams=...)`, with which it agrees; what is not finished after `steps` counts in the same way.
    """
    found = [_Beams(beams, length_penalty, frozenset(stop)) for _ in range(len(x_RTD))]
    past = _Past(llm, x_RTD, prompts, padding_R)
    score_RN = x_RTD.new_full((len(x_RTD), beams), float("-inf"), dtype=torch.float32)
    score_RN[:, 0] = 0.0
    logits_RV = past.next_logits(x_RTD)
    past.repeat(beams)
    logp_RNV = _log_probabilities(logits_RV, banned)[:, None].expand(-1, beams, -1)
    for step in range(1, steps + 1):
        total_RC = (score_RN[..., None] + logp_RNV).flatten(1)
        # Twice as many as beams: even if half of them are finished, every beam goes on.
        best_RC, index_RC = total_RC.topk(min(2 * beams, total_RC.shape[1]), dim=1)
        chosen = [
            one.advance(best.tolist(), index.tolist(), vocabulary=logp_RNV.shape[-1], length=step)
            for one, best, index in zip(found, best_RC, index_RC, strict=True)
        ]
        if step == steps or all(one.done(step) for one in found):
            break
        score_RN = score_RN.new_tensor([[score for score, _, _ in row] for row in chosen])
        origin = [number * beams + beam for number, row in enumerate(chosen) for _, beam, _ in row]
        past.reorder(torch.tensor(origin, device=x_RTD.device))
        token = torch.tensor([token for row in chosen for _, _, token in row], device=x_RTD.device)
        logp_RNV = _log_probabilities(past.next_logits(llm.embed(token[:, None])), banned).unflatten(0, (-1, beams))
    return [one.best(steps) for one in found]


@dataclass
class _Beams:
    """The open and the finished continuations of one row."""

    count: int
    length_penalty: float
    stop: frozenset[int]

    def __post_init__(self) -> None:
        self.open: list[list[int]] = [[] for _ in range(self.count)]
        self.scores: list[float] = []
        self.finished: list[tuple[float, list[int]]] = []

    def advance(
        self, best: list[float], index: list[int], *, vocabulary: int, length: int
    ) -> list[tuple[float, int, int]]:
        """Candidates, best first -> the (score, beam, token) that go on, as many as there are beams."""
        kept: list[tuple[float, int, int]] = []
        for rank, (score, flat) in enumerate(zip(best, index, strict=True)):
            beam, token = divmod(flat, vocabulary)
            if token not in self.stop:
                kept.append((score, beam, token))
            elif rank < self.count and score > float("-inf"):
                self.finished.append((score / length**self.length_penalty, [*self.open[beam], token]))
        kept = (kept + [(float("-inf"), 0, 0)] * self.count)[: self.count]
        self.open = [[*self.open[beam], token] for _, beam, token in kept]
        self.scores = [score for score, _, _ in kept]
        self.finished = sorted(self.finished, key=lambda one: -one[0])[: self.count]
        return kept

    def done(self, length: int) -> bool:
        """No open continuation can become better than the finished ones."""
        if len(self.finished) < self.count:
            return False
        return self.finished[-1][0] >= self.scores[0] / length**self.length_penalty

    def best(self, length: int) -> list[int]:
        """The best continuation."""
        if not self.finished or not self.done(length):
            length = len(self.open[0])
            still = [
                (score / length**self.length_penalty, row) for score, row in zip(self.scores, self.open, strict=True)
            ]
            return max([*self.finished, *still], key=lambda one: one[0])[1]
        return self.finished[0][1]


class _Past:
    """The cache, and what each new piece needs to know of what came before."""

    def __init__(self, llm: FrozenCausalLM, x_RTD: Tensor, prompts: Prompts | None, padding_R: Tensor | None) -> None:
        self.llm, self.cache, self.length = llm, llm.new_cache(), 0
        self.prompts = None if prompts is None else replace(prompts, keys_values={})
        self.padding_R = padding_R if padding_R is not None and bool(padding_R.any()) else None

    def next_logits(self, x_RTD: Tensor) -> Tensor:
        """Embeddings of what is new, (R, T, D) or (R, 1, D) -> logits of the token after it (R, V)."""
        rest: dict[str, Any] = {}
        new, self.length = x_RTD.shape[1], self.length + x_RTD.shape[1]
        if self.padding_R is not None:
            column_S = torch.arange(self.length, device=x_RTD.device)
            row_T = column_S[self.length - new :, None]
            # Padding sees itself, so that no row of scores is empty; nothing else sees it.
            seen_RTS = (column_S <= row_T) & ((column_S >= self.padding_R[:, None, None]) | (column_S == row_T))
            position_RT = (row_T[:, 0] - self.padding_R[:, None]).clamp(min=0)
            rest = {"mask_B1TT": seen_RTS[:, None], "position_ids_BT": position_RT}
        hidden_RTD = self.llm(x_RTD, prompts=self.prompts, cache=self.cache, **rest)
        return self.llm.logits(hidden_RTD[:, -1])

    def repeat(self, times: int) -> None:
        """Every row `times` times, one after the other."""
        self.cache.batch_repeat_interleave(times)
        if self.padding_R is not None:
            self.padding_R = self.padding_R.repeat_interleave(times)
        if self.prompts is not None and self.prompts.video_start_B is not None:
            start_R = self.prompts.video_start_B.repeat_interleave(times)
            self.prompts = replace(self.prompts, video_start_B=start_R)

    def reorder(self, rows: Tensor) -> None:
        """Rows go on from other rows of the same sample, so only the cache changes."""
        self.cache.reorder_cache(rows)


def _log_probabilities(logits_RV: Tensor, banned: Sequence[int]) -> Tensor:
    allowed_RV = logits_RV.float().clone()
    allowed_RV[:, list(banned)] = BANNED
    return allowed_RV.log_softmax(-1)
