"""Answers of FLAN-T5 without `generate`: the two decoder steps that a lettered answer needs, and the official way.

ViLA and SeViLA read the answer from the second generated token (after "Option"); spec vila, section 6.1.
Shape letters: B samples, T encoder positions, D width, V vocabulary, S steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vidalign.backbones.flan_t5 import unwrapped

MAX_NEW_TOKENS = 256


@dataclass(frozen=True)
class Steps:
    """What greedy decoding saw: scores after and logits before the repetition penalty, one (B, V) per step.

    tokens_BS: the start id and the tokens chosen.
    """

    scores: tuple[Tensor, ...]
    logits: tuple[Tensor, ...]
    tokens_BS: Tensor


def penalized(scores_BV: Tensor, seen_BS: Tensor, penalty: float) -> Tensor:
    """Scores of tokens that came before: positive ones divided by the penalty, negative ones multiplied."""
    if penalty == 1.0:
        return scores_BV
    own = scores_BV.gather(1, seen_BS)
    own = torch.where(own < 0, own * penalty, own / penalty)
    return scores_BV.scatter(1, seen_BS, own)


@torch.no_grad()
def first_steps(t5: nn.Module, encoded_BTD: Tensor, mask_BT: Tensor, *, penalty: float = 1.0, steps: int = 2) -> Steps:
    """Greedy decoding of a fixed number of steps over one encoder output; the decoder's keys and values are kept."""
    base = unwrapped(t5)
    tokens = mask_BT.new_full((len(mask_BT), 1), base.config.decoder_start_token_id, dtype=torch.long)
    cache, all_scores, all_logits = None, [], []
    for step in range(steps):
        out = base.decoder(
            input_ids=tokens[:, step:],
            encoder_hidden_states=encoded_BTD,
            encoder_attention_mask=mask_BT,
            past_key_values=cache,
            use_cache=steps > 1,
        )
        cache = out.past_key_values
        logits_BV = base.lm_head(out.last_hidden_state[:, -1]).float()
        scores_BV = penalized(logits_BV, tokens, penalty)
        all_logits.append(logits_BV)
        all_scores.append(scores_BV)
        # Kept: token by token, a letter that came first is penalised at the second step. [vila_eval_repetition_penalty]
        tokens = torch.cat([tokens, scores_BV.argmax(dim=1, keepdim=True)], dim=1)
    return Steps(tuple(all_scores), tuple(all_logits), tokens)


@torch.no_grad()
def official_steps(
    t5: nn.Module,
    encoded_BTD: Tensor,
    mask_BT: Tensor,
    *,
    penalty: float = 1.0,
    max_new_tokens: int = MAX_NEW_TOKENS,
    use_cache: bool = False,
) -> Steps:
    """What the authors' code does: `generate` to the end of every answer, by default without a cache (trap 15).

    The yardstick of `first_steps`: its first steps are equal.
    """
    from transformers.modeling_outputs import BaseModelOutput

    base = unwrapped(t5)
    out: Any = base.generate(
        encoder_outputs=BaseModelOutput(last_hidden_state=encoded_BTD),
        attention_mask=mask_BT,
        do_sample=False,
        num_beams=1,
        max_new_tokens=max_new_tokens,
        repetition_penalty=penalty,
        use_cache=use_cache,
        return_dict_in_generate=True,
        output_scores=True,
        output_logits=True,
    )
    return Steps(tuple(out.scores), tuple(out.logits), out.sequences)


@torch.no_grad()
def first_logits(t5: nn.Module, encoded_BTD: Tensor, mask_BT: Tensor, columns: Tensor) -> Tensor:
    """Logits (B, len(columns)) of the first decoder step, for these words only."""
    base = unwrapped(t5)
    start = mask_BT.new_full((len(mask_BT), 1), base.config.decoder_start_token_id, dtype=torch.long)
    hidden = base.decoder(
        input_ids=start, encoder_hidden_states=encoded_BTD, encoder_attention_mask=mask_BT, use_cache=False
    ).last_hidden_state[:, -1]
    return torch.nn.functional.linear(hidden, base.lm_head.weight[columns]).float()
