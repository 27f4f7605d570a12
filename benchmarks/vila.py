"""Speed of ViLA's training step and evaluation: the fast path against the `exact` one; and ViLA against SeViLA.

    python benchmarks/vila.py                                      CPU, mid-size random model, float32
    python benchmarks/vila.py --device cuda --size flant5xl --dtype bfloat16 --batch 8

32 frames, 4 of them kept, prompts of 60 tokens. The exact path reads frame by frame and decodes with `generate` without
a cache, as the official code does, in two lengths: 3 tokens ("Option", letter, end: what a trained model writes), and
the official limit of 256, which a model that never ends its answer runs to (a random one does). "stored" is the fast
path from the frozen ViT's outputs. Runs take turns; ratios are medians, by the clock and by CPU time.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from turns import report, time_in_turns

from vidalign.backbones.flan_t5_answers import MAX_NEW_TOKENS
from vidalign.models.vila import tower
from vidalign.models.vila.config import SeViLAConfig, ViLAConfig, WeightsConfig
from vidalign.models.vila.model import ViLA
from vidalign.models.vila.sevila import SeViLA
from vidalign.models.vila.sizes import SIZES

FRAMES, KEPT, WORDS, ANSWER_TOKENS = 32, 4, 60, 3
PARTS = ("train", "evaluate", "limit", "sevila")


def main() -> None:
    """Build the models, check that fast and exact agree, time them in turns, print the table."""
    args = _arguments()
    torch.manual_seed(0)
    if args.threads:
        torch.set_num_threads(args.threads)
    batch = _batch(args)
    print(f"{args.size}, {args.dtype}, {args.device}, batch {args.batch}, torch {torch.__version__}")
    fast, exact = _model(args, ViLA), _model(args, ViLA, attention="exact")
    exact.load_state_dict(fast.state_dict())
    stored = {**batch, "features": tower.look(fast.visual_encoder, batch)}
    _agree("training loss", fast.train()(batch).total, exact.train()(batch).total)
    _agree("letter scores", fast.eval().score_options(batch).scores, exact.eval().score_options(batch).scores)
    steps = {
        "exact": lambda: _step(exact, batch),
        "fast": lambda: _step(fast, batch),
        "stored": lambda: _step(fast, stored),
    }
    if "train" in args.parts:
        report("training step", time_in_turns(steps, rounds=args.rounds, device=args.device), unit="step")
    scores = {
        "exact": lambda: exact.eval().score_options(batch),
        "fast": lambda: fast.eval().score_options(batch),
        "stored": lambda: fast.eval().score_options(stored),
    }
    if "evaluate" in args.parts:
        report("evaluation", time_in_turns(scores, rounds=args.rounds, device=args.device), unit="batch")
    if "limit" in args.parts:
        exact.max_new_tokens = MAX_NEW_TOKENS
        timings = time_in_turns(scores, rounds=1, device=args.device, warm_up=False)
        report(f"{MAX_NEW_TOKENS} tokens", timings, unit="batch")
    if "sevila" in args.parts:
        _against_sevila(args, batch, fast)
    if args.device == "cuda":
        print(f"peak memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")


def _against_sevila(args: argparse.Namespace, batch: dict[str, Any], four: ViLA) -> None:
    sevila, two = _model(args, SeViLA).eval(), _model(args, ViLA, frames_kept=2).eval()
    answers = {
        "sevila": lambda: sevila.score_options(batch),
        "vila 4": lambda: four.eval().score_options(batch),
        "vila 2": lambda: two.score_options(batch),
    }
    timings = time_in_turns(answers, rounds=args.rounds, device=args.device)
    report("4 or 2 of 32", timings, unit="batch", yardstick="sevila")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="mid", choices=list(SIZES))
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS, help="what is timed (default all)")
    parser.add_argument("--rounds", type=int, default=3, help="timed runs of each variant (default 3)")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads (default: torch's own choice)")
    return parser.parse_args()


def _model(args: argparse.Namespace, cls: type, *, frames_kept: int = KEPT, **more: Any) -> Any:
    common = {"size": args.size, "num_frames": FRAMES, "frames_kept": frames_kept, "dropout": 0.0}
    common["weights"] = WeightsConfig(format="random")
    config = SeViLAConfig(**common, **more) if cls is SeViLA else ViLAConfig(**common, **more)
    with torch.device(args.device):
        model = cls.from_config(config, dtype=getattr(torch, args.dtype))
    model.max_new_tokens = ANSWER_TOKENS
    return model


def _batch(args: argparse.Namespace) -> dict[str, Any]:
    g, rows, side = torch.Generator().manual_seed(1), args.batch, SIZES[args.size].image_px
    batch = {
        "video": torch.randint(0, 256, (rows, FRAMES, 3, side, side), generator=g, dtype=torch.uint8),
        "letter_ids": torch.tensor([71, 272, 205, 309, 262]),
        "num_options": torch.full((rows,), 5),
        "target_ids": torch.tensor([[31, 71, 1]]).expand(rows, -1).contiguous(),
        "target_mask": torch.ones(rows, 3, dtype=torch.long),
        "yes_no_ids": torch.tensor([4273, 150]),
        "frame_prefix_ids": torch.tensor([50, 51]),
        "number_ids": torch.arange(60, 60 + 3 * KEPT).reshape(KEPT, 3),
        "number_mask": torch.ones(KEPT, 3, dtype=torch.long),
    }
    for name in ("prompt", "question", "loc"):
        batch[f"{name}_ids"] = torch.randint(5, 1000, (rows, WORDS), generator=g)
        batch[f"{name}_mask"] = torch.ones(rows, WORDS, dtype=torch.long)
    return {name: value.to(args.device) for name, value in batch.items()} | {"uid": [str(row) for row in range(rows)]}


def _step(model: Any, batch: dict[str, Any]) -> None:
    model.zero_grad(set_to_none=True)
    with torch.autocast(batch["video"].device.type, dtype=torch.bfloat16, enabled=batch["video"].is_cuda):
        total = model.train()(batch).total
    total.backward()


def _agree(name: str, fast: torch.Tensor, exact: torch.Tensor) -> None:
    print(f"{name}: largest difference of fast and exact {(fast - exact).abs().max().item():.2g}")


if __name__ == "__main__":
    main()
