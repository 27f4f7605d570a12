"""Speed of BoViLA's training step and option scoring: the fast path against the `exact` one, in one run.

    python benchmarks/llm_qa.py                                     CPU, mid-size random LLaMA, float32
    python benchmarks/llm_qa.py --device cuda --size llama_7b --dtype bfloat16

The shape is the published STAR recipe: 160 tokens, batch 8, 10 frames, 4 options; text lengths are those of real rows.
The exact path runs every pass at 160 tokens with all logits and one full row per option, as the official code does.
"padded" is the fast path at 160 tokens too, row by row, so that the part won by packing (no padding, a common
beginning once) is seen apart. Runs take turns; ratios are medians, by the clock and by CPU time (which other work on
the machine disturbs less).
"""

from __future__ import annotations

import argparse
import copy
import statistics
from collections.abc import Callable

import torch
from turns import Timing, ratio, report, time_in_turns

from vidalign.backbones.llm_sizes import SIZES
from vidalign.backbones.option_tree import pack_options
from vidalign.backbones.video_lm_config import AdapterConfig, LLMConfig
from vidalign.common.output import to_device
from vidalign.models.bovila.config import BoViLAConfig, BoViLALosses
from vidalign.models.bovila.model import BoViLA
from vidalign.models.bovila.plan import plan_training

MAX_SEQ_LEN, FRAMES, OPTIONS, VISUAL_DIM = 160, 10, 4, 768
VIDEO_START = 18
# (tokens of the VQA row, tokens of the question) under LLaMA's tokenizer: the one STAR row that is public in full, then
# rows 0, 20 .. 120 of NExT-QA val with their first four options in STAR's prompt.
ROW_LENGTHS = [(85, 10), (94, 16), (82, 8), (80, 10), (75, 7), (83, 12), (100, 22), (74, 9)]


def main() -> None:
    """Build both variants, check that they agree, time them in turns, print the table."""
    args = _arguments()
    torch.manual_seed(0)
    if args.threads:
        torch.set_num_threads(args.threads)
    fast, exact = _models(args)
    batches = {name: _batch(fast, trimmed=name == "fast", device=args.device) for name in ("fast", "padded")}
    print(f"{args.size}, {args.dtype}, {args.device}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"rows {[n for n, _ in ROW_LENGTHS]} of {MAX_SEQ_LEN} tokens, {OPTIONS} options, {FRAMES} frames\n")

    steps = {
        "exact": lambda: _step(exact, batches["padded"]),
        "padded": lambda: _step(fast, batches["padded"]),
        "fast": lambda: _step(fast, batches["fast"]),
    }
    scores = {
        "exact": lambda: exact.score_options(batches["padded"]).scores,
        "padded": lambda: _rows_one_by_one(fast, batches["padded"]),
        "fast": lambda: fast.score_options(batches["fast"]).scores,
    }
    _compare("training loss", steps)
    _compare("option scores", scores)
    print()
    _report("training step", time_in_turns(steps, rounds=args.rounds, device=args.device, warm_up=False), "step")
    _report("option scoring", time_in_turns(scores, rounds=args.rounds, device=args.device, warm_up=False), "batch")
    if args.device == "cuda":
        _report_utilisation(fast, steps["fast"], args)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="mid", choices=[name for name in SIZES if SIZES[name]])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--rounds", type=int, default=3, help="timed runs of each variant (default 3)")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads (default: torch's own choice)")
    parser.add_argument("--peak-tflops", type=float, default=989.0, help="of the GPU, dense bf16 (default: H100/H200)")
    return parser.parse_args()


def _models(args: argparse.Namespace) -> tuple[BoViLA, BoViLA]:
    """The same weights twice: fast and exact."""
    config = BoViLAConfig(
        size=args.size,
        llm=LLMConfig(format="random", dtype=args.dtype),
        adapter=AdapterConfig(),
        losses=BoViLALosses(vaq=0.5, aqa=0.25, uncertainty_gate=True),
        num_frames=FRAMES,
        visual_dim=VISUAL_DIM,
        max_seq_len=MAX_SEQ_LEN,
    )
    exact_config = copy.deepcopy(config)
    exact_config.llm.attention = "exact"
    with torch.device(args.device):
        fast, exact = BoViLA.from_config(config), BoViLA.from_config(exact_config)
    for layer in fast.video_lm.adapter.layers:
        torch.nn.init.constant_(layer.attention["gate1"], 0.1)  # silent prompts would hide a wrong gate
    exact.video_lm.llm.lm.load_state_dict(fast.video_lm.llm.lm.state_dict())
    exact.load_state(fast.export_state())
    return fast, exact


def _batch(model: BoViLA, *, trimmed: bool, device: str) -> dict:
    """One batch as the collate makes it: random words at real lengths; "train" holds the one-row streams."""
    generator = torch.Generator().manual_seed(1)
    width = max(n for n, _ in ROW_LENGTHS) if trimmed else MAX_SEQ_LEN
    streams = {name: _stream(name, width, generator) for name in ("vqa", "vaq")}
    train = {name: {k: v[:, :1] if v.ndim > 1 else v for k, v in s.items()} for name, s in streams.items()}
    batch = {
        "uid": [str(b) for b in range(len(ROW_LENGTHS))],
        "video": torch.randn(len(ROW_LENGTHS), FRAMES, VISUAL_DIM, generator=generator),
        "question_start": torch.full((len(ROW_LENGTHS),), VIDEO_START + FRAMES + 3),
        "question_len": torch.tensor([q - 1 for _, q in ROW_LENGTHS]),
        "vaq_prefix": torch.tensor([n - q for n, q in ROW_LENGTHS]),
        "noise_seed": torch.arange(len(ROW_LENGTHS)),
    }
    plan = plan_training({**batch, **train}, streams=model.streams, max_seq_len=MAX_SEQ_LEN, questions=True)
    if not trimmed:
        plan["packing"] = [None for _ in plan["packing"]]
    tree = pack_options(*(streams["vqa"][key] for key in ("ids", "labels", "lengths")))
    moved = to_device({**batch, "train": train, "vqa": streams["vqa"], "plan": plan}, device)
    return {**moved, "tree": tree.to(device)}


def _stream(name: str, width: int, generator: torch.Generator) -> dict:
    options = OPTIONS if name == "vqa" else 1
    ids = torch.zeros(len(ROW_LENGTHS), options, width, dtype=torch.long)
    labels = torch.zeros_like(ids)
    for b, (length, question) in enumerate(ROW_LENGTHS):
        ids[b, :, :length] = torch.randint(3, 1000, (length,), generator=generator)
        if name == "vqa":
            ids[b, :, length - 3] = torch.arange(10, 10 + options)  # the letter
        span = slice(length - (4 if name == "vqa" else question), length)
        labels[b, :, span] = ids[b, :, span]
    lengths = torch.tensor([n for n, _ in ROW_LENGTHS])[:, None].expand(-1, options)
    start = torch.full((len(ROW_LENGTHS),), VIDEO_START)
    return {"ids": ids, "labels": labels, "lengths": lengths, "video_start": start}


def _step(model: BoViLA, batch: dict) -> torch.Tensor:
    model.zero_grad(set_to_none=True)
    loss = sum(model({**batch, **batch["train"]}).losses.values())
    loss.backward()
    return loss.detach()


def _rows_one_by_one(model: BoViLA, batch: dict) -> torch.Tensor:
    """The fast kernels on one full padded row per option: no tree, no trimming."""
    model.video_lm.exact = True
    try:
        return model.score_options(batch).scores
    finally:
        model.video_lm.exact = False


def _compare(what: str, variants: dict[str, Callable[[], torch.Tensor]]) -> None:
    truth = variants["exact"]()
    for name in ("padded", "fast"):
        difference = (variants[name]().float() - truth.float()).abs().max().item()
        print(f"{what}: {name} differs from exact by at most {difference:.1e} (values up to {truth.abs().max():.2f})")


def _report(title: str, timings: dict[str, Timing], unit: str) -> None:
    report(title, timings, unit=unit)
    packed = ratio(timings, "padded", "fast")
    print(f"{title:18s} of which packing (no padding; what rows have in common once): {packed:.2f} x\n")


def _report_utilisation(model: BoViLA, step: Callable, args: argparse.Namespace) -> None:
    """Tokens per second, peak memory, and model FLOPs utilisation of the training step."""
    params = sum(p.numel() for p in model.video_lm.llm.body.layers.parameters())
    tokens = 3 * sum(n for n, _ in ROW_LENGTHS)  # vqa, vaq, aqa
    torch.cuda.reset_peak_memory_stats()
    timings = time_in_turns({"fast": step}, rounds=max(args.rounds, 5), device="cuda")
    seconds = statistics.median(timings["fast"].clock)
    # Forward 2 FLOPs per weight and token, backward 2 more: frozen weights need no gradient of their own.
    flops = 4 * params * tokens
    print(f"{tokens / seconds:,.0f} real tokens/s, peak memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB,")
    print(f"model FLOPs utilisation {flops / seconds / (args.peak_tflops * 1e12):.1%} of {args.peak_tflops} TFLOP/s")


if __name__ == "__main__":
    main()
