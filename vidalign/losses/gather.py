"""Features of all processes as one tensor, with gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vidalign.common import dist


class _Gather(torch.autograd.Function):
    """Forward: all processes' tensors one after the other. Backward: the sum of all gradients, this process's part."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(dist.world_size())]
        with dist.collective("gather of features"):
            torch.distributed.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.contiguous()
        with dist.collective("sum of the gradients of gathered features"):
            torch.distributed.all_reduce(grad)
        return grad.chunk(dist.world_size())[dist.rank()]


def gather_with_grad(x: Tensor) -> Tensor:
    """(n, ...) of every process -> (n * processes, ...), in order of rank. All processes must hold equally many rows.

    Where every process computes the same loss from the result, gradients come out `processes` times too large, which
    the mean of data-parallel training undoes (specification lf_vila, section 3). [distributed_gather]
    """
    return x if dist.world_size() == 1 else _Gather.apply(x)


def gather_values(x: Tensor) -> Tensor:
    """The same without gradients, for integers."""
    if dist.world_size() == 1:
        return x
    parts = [torch.empty_like(x) for _ in range(dist.world_size())]
    with dist.collective("gather of values"):
        torch.distributed.all_gather(parts, x.contiguous())
    return torch.cat(parts)
