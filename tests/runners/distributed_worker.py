"""One process of test_distributed.py: trains the toy model on its part of the samples and saves what came out.

python distributed_worker.py OUT DEVICE; rank and world size come from the environment. Both kinds of loss_norm in turn.
"""

import sys
from pathlib import Path

import torch
from toy_model import ToyModel, toy_batch, toy_samples

from vidalign.common import dist
from vidalign.config.schema import OptimizerConfig
from vidalign.runners.distributed import pick_device, process_group, wrap
from vidalign.runners.meters import NonFiniteLoss
from vidalign.runners.optim import build_optimizer, trained_parameters
from vidalign.runners.progress import LoopSettings
from vidalign.runners.train import train


class Lines:
    def __init__(self):
        self.lines = []

    def on_step(self, progress):
        pass

    def on_line(self, progress, values):
        self.lines.append(values)

    def on_epoch(self, progress, values):
        pass


def loader(rank, world, *, micro=2, total=16):
    """Micro-batches of this rank: sample i of a global batch goes to rank i % world."""
    samples = toy_samples(total)
    size = micro * world
    return [
        {"batch": toy_batch(samples[start + rank : start + size : world]), "failures": []}
        for start in range(0, total, size)
    ]


def run(rank, world, *, micro, accumulate, loss_norm, device, broken=False):
    model = ToyModel(seed=rank).to(device)  # DDP must hand out the first process's weights
    listener = Lines()
    optimizer = build_optimizer(trained_parameters(model), OptimizerConfig(weight_decay=0.1), lr=0.0)
    batches = loader(rank, world, micro=micro)
    if broken and rank == 1:
        batches[1]["batch"]["video"][0, 0] = float("nan")
    history = train(
        wrap(model, device=torch.device(device)),
        batches,
        optimizer,
        lr_at=lambda position: 0.05,
        settings=LoopSettings(max_epochs=2, accumulate=accumulate, loss_norm=loss_norm, log_every_steps=1),
        device=device,
        callbacks=[listener],
    )
    return {"model": {k: v.cpu() for k, v in model.export_state().items()}, "history": history, "lines": listener.lines}


if __name__ == "__main__":
    out, wish = sys.argv[1:]
    torch.set_num_threads(1)
    device = pick_device(wish)
    with process_group(device):
        place = {"rank": dist.rank(), "world": dist.world_size(), "device": device}
        both = {norm: run(**place, micro=2, accumulate=2, loss_norm=norm) for norm in ("official", "tokens")}
        if place["world"] > 1:
            try:
                run(**place, micro=2, accumulate=2, loss_norm="official", broken=True)
            except NonFiniteLoss as error:
                both["stopped_by"] = error.uids
    torch.save(both, Path(out) / f"rank{place['rank']}.pt")
