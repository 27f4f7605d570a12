"""Self-questioning (arXiv 2410.02768, section 3.2): the model samples a question softly and answers it.

The question is not generated token by token: the logits of the question-generation pass (VAQ, teacher-forced) are
sampled with a hard Gumbel-softmax, and the sampled embeddings take the place of the human question in the answering
input. Gradients flow back into the questioner straight through the sample.

Shape letters: N sampled positions, V vocabulary, D width of the LM.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def gumbel_noise(counts: Sequence[int], seeds: Sequence[int], *, vocab_size: int, device: torch.device) -> Tensor:
    """Standard Gumbel noise (sum of counts, V): -log(Exp(1)), each sample's rows drawn from its own seed."""
    rows = []
    for count, seed in zip(counts, seeds, strict=True):
        generator = torch.Generator(device=device).manual_seed(seed)
        rows.append(torch.empty(count, vocab_size, device=device).exponential_(generator=generator))
    return torch.cat(rows).log_().neg_()


def sample_embeddings(logits_NV: Tensor, noise_NV: Tensor, table_VD: Tensor) -> Tensor:
    """Hard Gumbel-softmax (tau 1) times the token table -> (N, D), straight-through gradient.

    Forward is a table lookup of argmax(logits + noise); backward is the softmax's, so no one-hot matrix is built.
    """
    return _LookupStraightThrough.apply(logits_NV, noise_NV.to(logits_NV.dtype), table_VD)


def sample_onehot(logits_NV: Tensor, noise_NV: Tensor) -> Tensor:
    """The plain formula: one-hot rows (N, V) whose gradient is that of softmax(logits + noise)."""
    soft = (logits_NV + noise_NV.to(logits_NV.dtype)).softmax(-1)
    hard = torch.zeros_like(soft).scatter(-1, soft.argmax(-1, keepdim=True), 1.0)
    return hard - soft.detach() + soft


class _LookupStraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits_NV: Tensor, noise_NV: Tensor, table_VD: Tensor) -> Tensor:
        perturbed = logits_NV + noise_NV
        ctx.save_for_backward(perturbed, table_VD)
        return table_VD[perturbed.argmax(-1)]

    @staticmethod
    def backward(ctx: Any, grad_ND: Tensor) -> tuple[Tensor, None, None]:
        perturbed, table_VD = ctx.saved_tensors
        soft = perturbed.float().softmax(-1)
        grad_soft = (grad_ND @ table_VD.T).float()
        grad_logits = soft * (grad_soft - (grad_soft * soft).sum(-1, keepdim=True))
        return grad_logits.to(perturbed.dtype), None, None
