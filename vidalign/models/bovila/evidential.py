"""Evidential answer loss and uncertainty of BoViLA (arXiv 2410.02768, section 3.3; released code).

From the logits z of one supervised row: q = sigmoid(scale_proj(z)) says how much evidence there is, e = softmax(z) how
it is spread. With r = q / (1 - q), k = V the expected probability is p = (e r + 1/k) / (1 + r) and the uncertainty u =
1 / (1 + r).

Changed: everything is written in q and u = 1 - q (r/(1+r) = q, 1/(1+r) = u, (1+r) + 1/k = 1/u + 1/k), algebraically the
same; the official r = q / (1 - q) is infinite as soon as a half-precision q rounds to 1, above a logit of about 8.3.

Shape letters: N supervised rows, V vocabulary.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SMALLEST_U = 1e-7  # keeps r = q / u finite; q is 1 in float32 from a logit of about 17 on


def evidence(logits_NV: Tensor, scale_proj: nn.Linear, *, exact: bool = False) -> tuple[Tensor, Tensor]:
    """Logits -> (e (N, V), q (N, 1)), float32. `exact` first rounds both to the logits' precision, as released."""
    if exact:
        return logits_NV.softmax(-1).float(), scale_proj(logits_NV).sigmoid().float()
    logits = logits_NV.float()
    bias = scale_proj.bias.float()
    return logits.softmax(-1), F.linear(logits, scale_proj.weight.float(), bias).sigmoid()


def uncertainty(q_N1: Tensor) -> Tensor:
    """u = 1 / (1 + r) = 1 - q, same shape."""
    return 1 - q_N1


def squared_error(e_NV: Tensor, q_N1: Tensor, label_N: Tensor) -> Tensor:
    """Expected squared error plus variance of the evidential distribution -> (N,)."""
    k = e_NV.shape[-1]
    u = uncertainty(q_N1).clamp(min=_SMALLEST_U)
    p = q_N1 * e_NV + u / k
    # sum (y - p)^2 without building the one-hot y
    error = 1 - 2 * p.gather(1, label_N[:, None])[:, 0] + p.square().sum(-1)
    variance = (p * (1 - p) / (1 / u + 1 / k)).sum(-1)
    return error + variance / k


def regularizer(e_NV: Tensor, q_N1: Tensor, label_N: Tensor, *, all_pairs: bool = True) -> Tensor:
    """Mean over all pairs of rows of `regularizer_matrix`, without building it -> scalar.

    all_pairs False: mean of its diagonal, each row with its own s, which is a plain mean over rows.
    """
    alpha_NV, s_N = _dirichlet(e_NV, q_N1, label_N)
    k = e_NV.shape[-1]
    const = math.lgamma(k)
    own = ((alpha_NV - 1) * torch.digamma(alpha_NV) - torch.lgamma(alpha_NV)).sum(-1)
    excess, spread = alpha_NV.sum(-1) - k, torch.digamma(s_N)
    cross = excess.mean() * spread.mean() if all_pairs else (excess * spread).mean()
    return (torch.lgamma(s_N).mean() - const + own.mean() - cross).to(e_NV.dtype)


def answer_terms(e_NV: Tensor, q_N1: Tensor, label_N: Tensor, *, all_pairs: bool = True) -> tuple[Tensor, Tensor]:
    """The two terms of the answer loss, unweighted: mean squared error and regularizer, both scalars."""
    return squared_error(e_NV, q_N1, label_N).mean(), regularizer(e_NV, q_N1, label_N, all_pairs=all_pairs)


def regularizer_matrix(e_NV: Tensor, q_N1: Tensor, label_N: Tensor) -> Tensor:
    """The plain formula (N, N): Kullback-Leibler terms of row j's alpha with row i's total evidence s.

    Kept: the official code pairs every s with every alpha (an unintended broadcast), and s is not the sum of the edited
    alpha. The published weight is 1e-9. [edl_functions]
    """
    alpha_NV, s_N = _dirichlet(e_NV, q_N1, label_N)
    k = e_NV.shape[-1]
    const = math.lgamma(k)
    spread = torch.digamma(alpha_NV)[None] - torch.digamma(s_N)[:, None, None]
    matrix = torch.lgamma(s_N)[:, None] - const - torch.lgamma(alpha_NV).sum(-1) + ((alpha_NV - 1) * spread).sum(-1)
    return matrix.to(e_NV.dtype)


def _dirichlet(e_NV: Tensor, q_N1: Tensor, label_N: Tensor) -> tuple[Tensor, Tensor]:
    """alpha (N, V) with the true class set to 1, and s (N,) = r k + k = k / u; in float64.

    The regularizer is a small difference of large sums: float32 leaves only four or five digits of it.
    """
    k = e_NV.shape[-1]
    e_NV, q_N1 = e_NV.double(), q_N1.double()
    u = uncertainty(q_N1).clamp(min=_SMALLEST_U)
    alpha = e_NV * (q_N1 / u) * k + 1
    return alpha.scatter(1, label_N[:, None], 1.0), (k / u)[:, 0]
