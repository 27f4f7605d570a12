"""One process of test_sharding.py: trains a tiny Video-Panda, divided where there are several processes.

python sharding_worker.py OUT; rank and world size come from the environment. One process takes the micro-batches of two
ranks as two micro-batches of one step.
"""

import sys
from pathlib import Path

import torch

from vidalign.common import dist
from vidalign.common.sample import DatasetInfo, Media, Sample
from vidalign.config.schema import OptimizerConfig
from vidalign.models.video_panda.config import LearningRates, VideoPandaConfig
from vidalign.models.video_panda.model import VideoPanda
from vidalign.runners.distributed import process_group, wrap
from vidalign.runners.optim import build_optimizer, load_optimizer_state, trained_parameters
from vidalign.runners.progress import LoopSettings
from vidalign.runners.recompute import checkpoint_activations
from vidalign.runners.sharding import divided_state, gathered, is_sharded, shard
from vidalign.runners.train import train

STEPS = 3


def model_of(out):
    torch.manual_seed(0)
    config = VideoPandaConfig(
        size="tiny", dtype="float32", max_length=512, stage="pretrain", learning_rates=LearningRates(tower=2.0)
    )
    model = VideoPanda.from_config(config, cache_dir=out)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def batches(model, rank, world):
    """Sample i goes to rank i % 2; a single process takes both ranks' micro-batches in turn."""
    processor = model.processor(DatasetInfo(name="made", task="dialogue"), train=True, seed=0)
    made = []
    for number in range(2 * STEPS):
        generator = torch.Generator().manual_seed(number)
        frames = torch.randint(0, 256, (8, 20, 30, 3), dtype=torch.uint8, generator=generator)
        sample = Sample(
            uid=str(number),
            dataset="made",
            split="train",
            task="dialogue",
            media=Media(kind="video", video_id=str(number), path=f"{number}.mp4"),
            texts=("<video>\nwhat?", f"thing {number % 3}"),
        )
        made.append({"batch": processor.collate([processor(sample, frames)]), "failures": []})
    return made[rank::2] if world > 1 else made


def main(out):
    rank, world = dist.rank(), dist.world_size()
    model = model_of(out)
    checkpoint_activations(model, "torch")
    loader = batches(model, rank, world)
    shard(model, device=torch.device("cpu"))
    assert is_sharded(model) == (world > 1)
    optimizer = build_optimizer(
        trained_parameters(model), OptimizerConfig(lr=1e-2), lr=0.0, factors=model.learning_rate_factors()
    )
    train(
        wrap(model, device=torch.device("cpu")),
        loader,
        optimizer,
        lr_at=lambda position: 1e-2,
        settings=LoopSettings(max_epochs=1, accumulate=1 if world > 1 else 2, loss_norm="official", log_every_steps=1),
        device="cpu",
    )
    local = sum(p.to_local().numel() if is_sharded(model) else p.numel() for p in trained_parameters(model).values())
    content = gathered({"model": model.export_state(), "optimizer": optimizer.state_dict()})
    if dist.is_main():
        torch.save(content | {"local": local}, out / f"world{world}.pt")
    if world > 1:
        state = torch.load(out / "world1.pt", weights_only=True)["optimizer"]
        load_optimizer_state(optimizer, divided_state(optimizer, state))
        again = gathered({"optimizer": optimizer.state_dict()})
        if dist.is_main():
            torch.save(again, out / "restored.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    with process_group(torch.device("cpu")):
        main(Path(sys.argv[1]))
