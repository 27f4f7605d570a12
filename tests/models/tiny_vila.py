"""Tiny ViLA and SeViLA models and batches for the tests."""

import torch

from vidalign.models.vila.config import (
    DistillConfig,
    LoRAConfig,
    SelectorConfig,
    SeViLAConfig,
    ViLAConfig,
    ViLALoRAConfig,
    ViLAOriConfig,
    WeightsConfig,
)
from vidalign.models.vila.model import ViLA
from vidalign.models.vila.sevila import SeViLA

FRAMES, KEPT, BATCH = 8, 4, 3
CONFIGS = {"vila": ViLAConfig, "vila_ori": ViLAOriConfig, "vila_lora": ViLALoRAConfig, "sevila": SeViLAConfig}


def config_of(arch, *, selector=None, distill=None, frames=FRAMES, kept=KEPT, **more):
    settings = {"size": "tiny", "num_frames": frames, "dropout": 0.0, "weights": WeightsConfig(format="random")}
    if arch != "vila_ori":
        settings["frames_kept"] = kept
    if arch in ("vila", "vila_lora"):
        settings |= {"selector": SelectorConfig(**(selector or {})), "distill": DistillConfig(**(distill or {}))}
    if arch == "vila_lora":
        settings["lora"] = LoRAConfig(rank=2, alpha=4.0, dropout=0.0)
    return CONFIGS[arch](**settings | more)


def model_of(arch, **settings):
    torch.manual_seed(0)
    cls = SeViLA if arch == "sevila" else ViLA
    model = cls.from_config(config_of(arch, **settings))
    if arch == "vila_lora":
        for name, one in model.named_parameters():
            if "lora_B" in name:  # zeros at the start, which would hide a wrong scale
                torch.nn.init.normal_(one, std=0.05)
    return model


def same_weights(model, other):
    other.load_state_dict(model.state_dict())
    return other


def batch_of(*, frames=FRAMES, kept=KEPT, noise=True, seed=1):
    """As the collate makes it, rows of different lengths."""
    g = torch.Generator().manual_seed(seed)

    def text(name, length, low=5):
        ids, lengths = torch.randint(low, 700, (BATCH, length), generator=g), torch.tensor([length, length - 3, 4])
        mask = (torch.arange(length) < lengths[:, None]).long()
        return {f"{name}_ids": ids * mask, f"{name}_mask": mask}

    batch = {
        "uid": [f"x/{row}" for row in range(BATCH)],
        "video": torch.randint(0, 256, (BATCH, frames, 3, 32, 32), generator=g, dtype=torch.uint8),
        "letter_ids": torch.tensor([11, 12, 13, 14, 15]),
        "answer_idx": torch.tensor([0, 2, 1]),
        "num_options": torch.tensor([5, 4, 2]),
        **text("prompt", 12),
        **text("question", 10),
        **text("loc", 9),
        "target_ids": torch.tensor([[31, 11, 1], [31, 13, 1], [31, 12, 1]]),
        "target_mask": torch.ones(BATCH, 3, dtype=torch.long),
        "yes_no_ids": torch.tensor([37, 41]),
        "frame_prefix_ids": torch.tensor([50, 51]),
        "number_ids": torch.arange(60, 60 + 2 * kept).reshape(kept, 2),
        "number_mask": torch.ones(kept, 2, dtype=torch.long),
    }
    if noise:
        batch["gumbel_uniform"] = torch.rand(BATCH, kept, frames // kept, generator=g)
    return batch
