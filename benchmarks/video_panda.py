"""Speed of Video-Panda: STAB, alignment head and questions on one video, the fast path against the `exact` one.

    python benchmarks/video_panda.py                                CPU, mid size, float32
    python benchmarks/video_panda.py --device cuda --size 7b --dtype bfloat16 --visual

The exact path is the official order: one video, one frame, one question after the other. Both paths run in turns in
one process and must agree; ratios are medians, by the clock and by CPU time (which other work on the machine disturbs
less). Peak memory on the CPU is that of the process so far: `--only exact` or `--only fast` with one part runs that
path alone, once, and prints it.
`--visual` times the visual part alone beside a CLIP ViT-L/14 on the same frames, with counted FLOPs; the poster of the
paper has 41 ms and 105.5 GFLOPs on an A100.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vidalign.backbones.decoder import greedy_after_prefix
from vidalign.backbones.llm_sizes import SIZES as LANGUAGE_MODELS
from vidalign.backbones.meta_llama import build_llama, llama_config
from vidalign.models.video_panda.alignment import (
    AlignmentHead,
    aligned_states,
    alignment_loss,
    exact_alignment_loss,
    plan_alignment,
)
from vidalign.models.video_panda.boxes import Box
from vidalign.models.video_panda.config import SIZES
from vidalign.models.video_panda.splice import PLACEHOLDER, plan_splice, splice
from vidalign.models.video_panda.stab import Stab, project_tokens, projector
from vidalign.models.video_panda.stab_exact import exact_tokens

FRAMES = 8
# 16:9, the commonest shape of the published data: 9 of 16 teacher rows.
WIDE = Box(6, 0, 24, 32)


def main() -> None:
    """Time the three parts, or the visual part alone."""
    args = _arguments()
    torch.manual_seed(0)
    if args.threads:
        torch.set_num_threads(args.threads)
    print(f"{args.size}, {args.dtype}, {args.device}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    if args.visual:
        _visual(args)
        return
    for part in args.parts.split(","):
        {"stab": _stab, "head": _head, "questions": _questions}[part](args)


def _stab(args: argparse.Namespace) -> None:
    tower, mlp = _tower(args)
    frames, boxes, clips = _clips(args.videos, args)

    def step(make: Callable[..., Tensor]) -> Tensor:
        tower.zero_grad(set_to_none=True)
        tokens = make(tower, mlp, frames, boxes, clips=clips)
        tokens.float().square().mean().backward()
        return tokens.detach()

    _compare(
        f"STAB forward + backward, {args.videos} videos", lambda: step(exact_tokens), lambda: step(project_tokens), args
    )


def _head(args: argparse.Namespace) -> None:
    row = LANGUAGE_MODELS[SIZES[args.size]["lm"]]
    layers = aligned_states(32)
    head = AlignmentHead(lm_dim=row["dim"], dim=1024, states=len(layers)).to(args.device, args.dtype)
    boxes = [WIDE] * FRAMES
    count = 1 + 9 * 17
    length = 64 + FRAMES * count
    starts = [number * length + 40 + frame * count for number in range(args.videos) for frame in range(FRAMES)]
    plan = {k: v.to(args.device) for k, v in plan_alignment(starts, boxes * args.videos, teacher_side=16).items()}
    teacher = torch.randn(args.videos * FRAMES * 256, 1024, device=args.device, dtype=args.dtype)
    states = [
        torch.randn(args.videos, length, row["dim"], device=args.device, dtype=args.dtype, requires_grad=True)
        for _ in range(33)
    ]

    def step(compute: Callable[..., Tensor]) -> Tensor:
        head.zero_grad(set_to_none=True)
        for state in states:
            state.grad = None
        loss = compute(head, states, teacher, plan, layers=layers)
        loss.backward()
        return loss.detach()

    _compare(
        f"alignment head forward + backward, {args.videos} videos",
        lambda: step(exact_alignment_loss),
        lambda: step(alignment_loss),
        args,
    )


def _questions(args: argparse.Namespace) -> None:
    """Eight questions on one video, answers of a few tokens."""
    tower, mlp = _tower(args)
    tower.eval()
    row = LANGUAGE_MODELS[SIZES[args.size]["lm"]]
    lm = build_llama(llama_config(row, vocab_size=row["vocab_size"]), dtype=args.dtype).to(args.device).eval()
    frames, boxes, clips = _clips(1, args)
    prefix = torch.tensor([1, *range(5, 40), *[PLACEHOLDER] * FRAMES])
    counts = [[tower.count(box) for box in boxes]]
    plan = plan_splice([prefix], [torch.full_like(prefix, -100)], counts, padding_side="left")
    plan = {name: value.to(args.device) for name, value in plan.items()}
    questions = torch.randint(5, row["vocab_size"], (8, 12), device=args.device)
    embed = lm.get_input_embeddings()

    @torch.no_grad()
    def answer(rows: Tensor, make: Callable[..., Tensor]) -> list[list[int]]:
        visual = make(tower, mlp, frames, boxes, clips=clips)
        return greedy_after_prefix(
            lm,
            splice(embed, visual, plan),
            plan["mask"],
            embed(rows),
            torch.ones_like(rows, dtype=torch.bool),
            torch.zeros(len(rows), dtype=torch.long, device=args.device),
            max_new_tokens=6,
            finished=lambda ids: False,
        )

    _compare(
        "eight questions on one video",
        lambda: torch.tensor([answer(rows[None], exact_tokens)[0] for rows in questions]),
        lambda: torch.tensor(answer(questions, project_tokens)),
        args,
    )


def _visual(args: argparse.Namespace) -> None:
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import CLIPVisionConfig, CLIPVisionModel

    tower, mlp = _tower(args)
    tower.eval()
    frames, boxes, clips = _clips(1, args)
    clip = CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, patch_size=14
        )
    )
    clip = clip.to(args.device, args.dtype).eval()
    small = torch.nn.functional.interpolate(frames, size=224)
    runs = {
        "STAB and projector, fast": lambda: project_tokens(tower, mlp, frames, boxes, clips=clips),
        "STAB and projector, exact": lambda: exact_tokens(tower, mlp, frames, boxes, clips=clips),
        "CLIP ViT-L/14, 224 px": lambda: clip(pixel_values=small),
    }
    with torch.no_grad():
        for name, run in runs.items():
            with FlopCounterMode(display=False) as counter:
                run()
            times = [_timed(run, args.device)[0] for _ in range(args.repeats + 2)][2:]
            print(
                f"{name:<28} {1000 * statistics.median(times):8.1f} ms  {counter.get_total_flops() / 1e9:8.1f} GFLOPs"
            )


def _tower(args: argparse.Namespace) -> tuple[Stab, torch.nn.Module]:
    row = LANGUAGE_MODELS[SIZES[args.size]["lm"]]
    tower = Stab(dim=args.dim, dropout=0.0).to(args.device, args.dtype)
    return tower, projector(args.dim, row["dim"]).to(args.device, args.dtype)


def _clips(videos: int, args: argparse.Namespace) -> tuple[Tensor, list[Box], list[int]]:
    frames = torch.randn(videos * FRAMES, 3, 448, 448, device=args.device, dtype=args.dtype)
    return frames, [WIDE] * (videos * FRAMES), [FRAMES] * videos


def _compare(what: str, exact: Callable[[], Any], fast: Callable[[], Any], args: argparse.Namespace) -> None:
    if args.only:
        _, cpu, peak = _timed(exact if args.only == "exact" else fast, args.device)
        print(f"{what}: {args.only} alone, {cpu:.2f} s of CPU time, peak memory {peak:.0f} MiB")
        return
    one, other = exact(), fast()
    error = float((one.float() - other.float()).abs().max() / one.float().abs().max().clamp(min=1e-12))
    times: dict[str, list[tuple[float, float, float]]] = {"exact": [], "fast": []}
    for _ in range(args.repeats):
        for name, run in (("exact", exact), ("fast", fast)):
            times[name].append(_timed(run, args.device))
    clock, cpu = (
        statistics.median(t[i] for t in times["exact"]) / statistics.median(t[i] for t in times["fast"]) for i in (0, 1)
    )
    seconds = {name: statistics.median(t[0] for t in rows) for name, rows in times.items()}
    peaks = {name: max(t[2] for t in rows) for name, rows in times.items()}
    print(
        f"{what}: exact {seconds['exact']:.2f} s, fast {seconds['fast']:.2f} s, {clock:.2f} x (CPU time {cpu:.2f} x), "
        f"largest relative difference {error:.1e}, peak memory {peaks['exact']:.0f} / {peaks['fast']:.0f} MiB"
    )


def _timed(run: Callable[[], Any], device: str) -> tuple[float, float, float]:
    """Seconds by the clock and of the CPU, and the largest memory: of the device, or of the process so far."""
    on_gpu = device != "cpu"
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    clock, cpu = time.perf_counter(), time.process_time()
    run()
    if on_gpu:
        torch.cuda.synchronize()
    peak = (
        torch.cuda.max_memory_allocated() / 2**20
        if on_gpu
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    )
    return time.perf_counter() - clock, time.process_time() - cpu, peak


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="mid", choices=("mid", "7b"), help="width of the language model")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--dim", type=int, default=1024, help="width of STAB; smaller for a quick look")
    parser.add_argument("--videos", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--parts", default="stab,head,questions", help="which of stab, head, questions, with commas")
    parser.add_argument("--only", choices=("exact", "fast"), help="one path alone, for its memory")
    parser.add_argument("--visual", action="store_true", help="latency and FLOPs of the visual part alone")
    given = parser.parse_args()
    given.dtype = getattr(torch, given.dtype)
    return given


if __name__ == "__main__":
    main()
