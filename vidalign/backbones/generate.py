"""Greedy continuation with a key/value cache.

Shape letters: R rows, T positions of the prompt, D width, G generated tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

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
) -> tuple[Tensor, Tensor]:
    """Embedded prompts of equal length -> (tokens (R, G), logits (R, G, V) before the ban), G <= steps.

    banned: ids whose logit is set to -100 (TOPA's demos). stop: ids after which a row is finished; the loop ends when
    all rows are, and what a finished row still gets is for the caller to cut off.
    """
    cache = llm.new_cache()
    done_R = torch.zeros(len(x_RTD), dtype=torch.bool, device=x_RTD.device)
    stop_ids = torch.tensor(list(stop), dtype=torch.long, device=x_RTD.device)
    tokens, logits = [], []
    for step in range(steps):
        hidden_RTD = llm(x_RTD, prompts=prompts, cache=cache)
        logits_RV = llm.logits(hidden_RTD[:, -1])
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
