"""Speed of TOPA's option scoring and caption generation: the fast path against the `exact` one, in one run.

    python benchmarks/topa.py                                       CPU, mid-size random LLaMA, float32
    python benchmarks/topa.py --device cuda --size llama2_7b --dtype bfloat16

Scoring has the published shape of NExT-QA: 128 tokens, 5 options, 10 frames, 50 prompts per layer; the exact path runs
one full row per option with all logits, as the official code does. Captions have the prompts of the official demos
(MSR-VTT 45 tokens and 10 steps, VATEX 34 and 15); the exact path runs the whole sequence again for every token, the
fast one keeps keys and values. Both take the same batch. Runs take turns; ratios are medians, by the clock and by CPU
time.
"""

from __future__ import annotations

import argparse
import copy

import torch
from turns import report, time_in_turns

from vidalign.backbones.llm_sizes import SIZES
from vidalign.backbones.option_tree import pack_options
from vidalign.backbones.video_lm_config import AdapterConfig, LLMConfig
from vidalign.common.output import to_device
from vidalign.models.topa.captioning import DEMOS
from vidalign.models.topa.config import TOPAConfig
from vidalign.models.topa.model import TOPA

MAX_SEQ_LEN, FRAMES, OPTIONS, VISUAL_DIM, PROMPTS = 128, 10, 5, 768, 50
VIDEO_START, SUPERVISED = 19, 6
# Tokens of rows 0, 249, 498 .. 1743 of NExT-QA val under LLaMA's tokenizer.
ROW_LENGTHS = [103, 101, 107, 112, 101, 96, 93, 89]
# Tokens before and after the video in the official demos, under the same tokenizer.
DEMO_LENGTHS = {"msrvtt": (17, 18), "vatex": (15, 9)}


def main() -> None:
    """Build both variants, check that they agree, time them in turns."""
    args = _arguments()
    torch.manual_seed(0)
    if args.threads:
        torch.set_num_threads(args.threads)
    fast, exact = _models(args)
    print(f"{args.size}, {args.dtype}, {args.device}, torch {torch.__version__}, {torch.get_num_threads()} threads")

    if "scoring" in args.what:
        _time_scoring(fast, exact, args)
    for name in DEMO_LENGTHS:
        if name in args.what:
            _time_captions(name, fast, exact, args)


def _time_scoring(fast: TOPA, exact: TOPA, args: argparse.Namespace) -> None:
    lengths = ROW_LENGTHS[: args.videos]
    batch = _questions(lengths, args.device)
    variants = {
        "exact": lambda: exact.score_options(batch).scores,
        "fast": lambda: fast.score_options(batch).scores,
    }
    want, got = variants["exact"](), variants["fast"]()
    print(f"\nrows {lengths} of {MAX_SEQ_LEN} tokens, {OPTIONS} options, {FRAMES} frames")
    print(f"scores differ by at most {(got - want).abs().max():.1e} (values up to {want.abs().max():.2f})")
    report(
        "option scoring",
        time_in_turns(variants, rounds=args.rounds, device=args.device, warm_up=False),
        unit="batch",
    )


def _time_captions(name: str, fast: TOPA, exact: TOPA, args: argparse.Namespace) -> None:
    lengths, steps = DEMO_LENGTHS[name], DEMOS[name].steps
    prompt = _demo(lengths, args)
    variants = {
        "exact": lambda: _recompute(exact, prompt, steps=steps),
        "fast": lambda: fast.continue_greedily(**prompt, steps=steps),
    }
    (want_tokens, want), (tokens, logits) = variants["exact"](), variants["fast"]()
    print(f"\n{name}: {args.videos} videos, {sum(lengths) + FRAMES} tokens and {steps} steps")
    print(f"equal tokens: {torch.equal(tokens, want_tokens)}, logits within {(logits - want).abs().max():.1e}")
    report(
        f"{name} captions",
        time_in_turns(variants, rounds=args.rounds, device=args.device, warm_up=False),
        unit="batch",
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="mid", choices=[name for name in SIZES if SIZES[name]])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--what", nargs="+", default=["scoring", *DEMO_LENGTHS], choices=["scoring", *DEMO_LENGTHS])
    parser.add_argument("--videos", type=int, default=8, help="in a batch (default 8, the most questions)")
    parser.add_argument("--rounds", type=int, default=3, help="timed runs of each variant (default 3)")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads (default: torch's own choice)")
    return parser.parse_args()


def _models(args: argparse.Namespace) -> tuple[TOPA, TOPA]:
    """The same weights twice: fast and exact."""
    config = TOPAConfig(
        size=args.size,
        llm=LLMConfig(format="random", dtype=args.dtype),
        adapter=AdapterConfig(length=PROMPTS),
        num_frames=FRAMES,
        visual_dim=VISUAL_DIM,
        max_seq_len=MAX_SEQ_LEN,
    )
    exact_config = copy.deepcopy(config)
    exact_config.llm.attention = "exact"
    with torch.device(args.device):
        fast, exact = TOPA.from_config(config), TOPA.from_config(exact_config)
    for layer in fast.video_lm.adapter.layers:
        torch.nn.init.constant_(layer.attention["gate1"], 0.1)  # silent prompts would hide a wrong gate
    exact.video_lm.llm.lm.load_state_dict(fast.video_lm.llm.lm.state_dict())
    exact.load_state(fast.export_state())
    return fast, exact


def _questions(row_lengths: list[int], device: str) -> dict:
    """An evaluation batch as the collate makes it, with random words at real lengths."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.zeros(len(row_lengths), OPTIONS, MAX_SEQ_LEN, dtype=torch.long)
    labels = torch.zeros_like(ids)
    for b, length in enumerate(row_lengths):
        ids[b, :, :length] = torch.randint(3, 1000, (length,), generator=generator)
        ids[b, :, length - 3] = torch.arange(10, 10 + OPTIONS)  # the letter
        labels[b, :, length - SUPERVISED : length] = ids[b, :, length - SUPERVISED : length]
    lengths = torch.tensor(row_lengths)[:, None].expand(-1, OPTIONS)
    rows = {"ids": ids, "labels": labels, "lengths": lengths}
    rows["video_start"] = torch.full((len(ids),), VIDEO_START)
    video = torch.randn(len(ids), FRAMES, VISUAL_DIM, generator=generator)
    moved = to_device({"uid": [str(b) for b in range(len(ids))], "video": video, "vqa": rows}, device)
    return {**moved, "tree": pack_options(ids, labels, lengths).to(device)}


def _demo(lengths: tuple[int, int], args: argparse.Namespace) -> dict:
    """Arguments of `continue_greedily`: random words around the video."""
    generator = torch.Generator().manual_seed(2)
    before, after = (torch.randint(3, 1000, (1, n), generator=generator).expand(args.videos, -1) for n in lengths)
    video = torch.randn(args.videos, FRAMES, VISUAL_DIM, generator=generator)
    return to_device({"video_BFE": video, "before_BT": before, "after_BT": after}, args.device)


@torch.no_grad()
def _recompute(model: TOPA, prompt: dict, *, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """One greedy token at a time, each by a run over everything before it: the official demos' order."""
    tokens, logits, after = [], [], prompt["after_BT"]
    for _ in range(steps):
        token, logit = model.continue_greedily(**{**prompt, "after_BT": after}, steps=1)
        tokens, logits = [*tokens, token], [*logits, logit]
        after = torch.cat([after, token], dim=1)
    return torch.cat(tokens, dim=1), torch.cat(logits, dim=1)


if __name__ == "__main__":
    main()
