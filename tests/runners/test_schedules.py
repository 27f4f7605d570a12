"""Learning rates against the official ones, and the optimizer's rules."""

import json

import pytest
import torch

from vidalign.common.errors import ConfigError
from vidalign.config.schema import OptimizerConfig
from vidalign.runners.optim import build_optimizer, learning_rate, load_optimizer_state
from vidalign.runners.schedules import (
    constant,
    warmup_cosine,
    warmup_cosine_whole,
    warmup_linear,
    whole_warmup_steps,
)


def test_warmup_cosine_equals_the_official_rates(shared):
    case = json.loads((shared / "reference/bovila/lr_schedule_and_frames.json").read_text())
    for row in case["lr"]:
        config = OptimizerConfig(base_lr=row["blr"])
        peak = learning_rate(config, samples_per_step=row["batch_size"] * row["accum_iter"] * row["world_size"])
        assert peak == pytest.approx(row["lr"], rel=1e-12)
        for epoch, iteration, rate in row["schedule"]:
            position = iteration / row["iters_per_epoch"] + epoch
            ours = warmup_cosine(
                position,
                peak=peak,
                min_lr=row["min_lr"],
                warmup_epochs=row["warmup_epochs"],
                epochs=row["epochs"],
            )
            assert ours == pytest.approx(rate, rel=1e-12, abs=1e-15)


def test_other_schedules():
    shape = {"peak": 2.0, "min_lr": 0.5, "warmup_epochs": 1.0, "epochs": 4.0}
    assert warmup_linear(0.5, **shape) == 1.0
    assert warmup_linear(2.5, **shape) == pytest.approx(1.25)
    assert warmup_linear(4.0, **shape) == 0.5
    assert constant(0.25, **shape) == 0.5
    assert constant(3.9, **shape) == 2.0
    assert warmup_cosine(9.0, **shape) == 0.5, "past the end the rate stays at its minimum"
    assert warmup_cosine(0.0, peak=2.0, min_lr=0.5, warmup_epochs=0.0, epochs=0.0) == 0.5


@pytest.mark.parametrize(("ratio", "steps", "warm"), [(0.07, 100, 8), (0.03, 686, 21), (0.01, 400, 4), (0.5, 3, 2)])
def test_whole_warmup_steps_are_those_of_transformers(ratio, steps, warm):
    """`math.ceil(num_training_steps * warmup_ratio)`, in floats: 0.07 * 100 is a little more than 7."""
    assert whole_warmup_steps(ratio, steps) == warm
    shape = {"peak": 1.0, "min_lr": 0.0, "warmup_epochs": ratio, "epochs": 1, "iterations_per_epoch": steps}
    rates = [warmup_cosine_whole(step / steps, **shape) for step in range(steps)]
    assert rates[:warm] == pytest.approx([step / warm for step in range(warm)])
    assert rates[warm] == pytest.approx(1.0)


def test_learning_rate_needs_one_of_two():
    assert learning_rate(OptimizerConfig(lr=0.3, base_lr=9.0), samples_per_step=1) == 0.3
    with pytest.raises(ConfigError, match="base_lr"):
        learning_rate(OptimizerConfig(), samples_per_step=8)


def test_optimizer_mistakes():
    with pytest.raises(ConfigError, match="evaluate.py"):
        build_optimizer({}, OptimizerConfig(), lr=0.1)
    with pytest.raises(ConfigError, match="betas"):
        build_optimizer({"w": torch.nn.Parameter(torch.ones(1))}, OptimizerConfig(betas=[0.9]), lr=0.1)


def test_two_group_state_of_older_timm_loads():
    def fresh():
        parameters = {"a": torch.nn.Parameter(torch.ones(3)), "b": torch.nn.Parameter(torch.ones(2, 2))}
        return parameters, build_optimizer(parameters, OptimizerConfig(weight_decay=0.1), lr=0.1)

    parameters, optimizer = fresh()
    sum(p.square().sum() for p in parameters.values()).backward()
    optimizer.step()
    state = optimizer.state_dict()
    empty = {**state["param_groups"][0], "params": [], "weight_decay": 0.0}
    older = {**state, "param_groups": [empty, *state["param_groups"]]}

    _, other = fresh()
    load_optimizer_state(other, older)
    assert len(other.param_groups) == 1
    for key, value in state["state"].items():
        torch.testing.assert_close(other.state_dict()["state"][key]["exp_avg"], value["exp_avg"], rtol=0, atol=0)
