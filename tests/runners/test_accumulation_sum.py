"""run.accumulation sum: gradients are added, rates follow the micro-batch, leftovers enter the next epoch."""

import torch
from torch import nn

from vidalign.common.output import Output
from vidalign.runners.progress import LoopSettings
from vidalign.runners.train import train


class Line(nn.Module):
    """loss = weight * x, so that the gradient is x."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.positions = []

    def set_position(self, position, iterations_per_epoch):
        self.positions.append((position, iterations_per_epoch))

    def forward(self, batch):
        return Output({"line": self.weight * batch["x"]})


def run(accumulation):
    model, steps = Line(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    optimizer.register_step_pre_hook(
        lambda opt, args, kwargs: steps.append((model.weight.grad.item(), opt.param_groups[0]["lr"]))
    )
    loader = [{"batch": {"uid": ["u"], "x": torch.tensor(float(x))}} for x in (1, 10, 100)]
    settings = LoopSettings(max_epochs=2, accumulate=2, accumulation=accumulation)
    train(model, loader, optimizer, lr_at=lambda position: float(round(position * 3)), settings=settings)
    return model, steps


def test_sum_adds_and_carries_over():
    model, steps = run("sum")
    # The third micro-batch of the first epoch enters the first step of the second.
    assert steps == [(11.0, 1), (111.0, 4)]
    assert [round(position * 3) for position, _ in model.positions] == [0, 1, 2, 3, 4, 5]
    assert {length for _, length in model.positions} == {3}
    assert model.weight.grad.item() == 100.0  # waits for a third epoch


def test_mean_divides_and_drops():
    model, steps = run("mean")
    assert steps == [(5.5, 0), (5.5, 3)]
    assert model.weight.grad is None
