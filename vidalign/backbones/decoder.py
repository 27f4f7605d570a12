"""A trainable Hugging Face causal LM on embeddings: hidden states of all layers, and greedy answers after a prefix
that several rows share.

Shape letters: B rows, S positions, D width, U prefixes, P positions of the prefix, Q of the question,
G generated tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

ATTENTION = {"fast": "sdpa", "exact": "eager"}


def set_attention(lm: nn.Module, how: str) -> None:
    """fast: fused kernels; exact: softmax over explicit scores."""
    lm.set_attn_implementation(ATTENTION[how])


def hidden_states(lm: nn.Module, x_BSD: Tensor, *, mask_BS: Tensor | None) -> list[Tensor]:
    """[embeddings, output of layer 1, ..., output of the last layer behind the final norm], each (B, S, D).

    They are the layers' inputs, which the backward pass keeps anyway. Padding is on the right; mask None leaves it in,
    where causal attention keeps it from what is real.
    """
    output = lm.model(
        inputs_embeds=x_BSD,
        attention_mask=mask_BS,
        use_cache=False,
        output_hidden_states=True,
    )
    return list(output.hidden_states)


@torch.no_grad()
def greedy_after_prefix(
    lm: nn.Module,
    prefix_UPD: Tensor,
    prefix_mask_UP: Tensor,
    question_BQD: Tensor,
    question_mask_BQ: Tensor,
    owner_B: Tensor,
    *,
    max_new_tokens: int,
    finished: Callable[[list[int]], bool],
) -> list[list[int]]:
    """Greedy ids of every row, up to and with the first at which `finished(ids)` holds.

    Prefixes and questions are padded on the left; row b continues prefix owner[b], whose keys and values are computed
    once. Positions count real tokens only, so a row's answer is that of the row alone.
    """
    lengths_U = prefix_mask_UP.sum(1)
    cache = _new_cache()
    lm.model(
        inputs_embeds=prefix_UPD,
        attention_mask=prefix_mask_UP,
        position_ids=(prefix_mask_UP.cumsum(1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
    )
    cache.batch_select_indices(owner_B)
    mask_BS = torch.cat([prefix_mask_UP[owner_B], question_mask_BQ], dim=1)
    positions = lengths_U[owner_B, None] + (question_mask_BQ.cumsum(1) - 1).clamp(min=0)
    x, made = question_BQD, [[] for _ in range(len(owner_B))]
    open_rows = set(range(len(made)))
    for step in range(max_new_tokens):
        output = lm.model(
            inputs_embeds=x, attention_mask=mask_BS, position_ids=positions, past_key_values=cache, use_cache=True
        )
        token_B = lm.lm_head(output.last_hidden_state[:, -1]).argmax(-1)
        for row, token in enumerate(token_B.tolist()):
            if row in open_rows:
                made[row].append(token)
        open_rows = {row for row in open_rows if not finished(made[row])}
        if not open_rows or step + 1 == max_new_tokens:
            break
        x = lm.get_input_embeddings()(token_B[:, None])
        mask_BS = torch.cat([mask_BS, mask_BS.new_ones(len(mask_BS), 1)], dim=1)
        positions = positions[:, -1:] + 1
    return made


def _new_cache() -> Any:
    from transformers import DynamicCache

    return DynamicCache()
