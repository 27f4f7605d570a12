"""LF-VILA's video encoder, forward and backward: the fast path against `exact`, and what more frames cost.

    python benchmarks/lf_vila.py                                   CPU, mid size, one video, float32
    python benchmarks/lf_vila.py --device cuda --size base --dtype bfloat16 --batch 4
    python benchmarks/lf_vila.py --part frames --size small        32 to 128 frames, beside full space-time attention

"floor" is the time of the matrix products of the exact path alone, at their shapes. Runs take turns; ratios are
medians, by the clock and by CPU time.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from turns import ratio, report, time_in_turns

from vidalign.models.lf_vila.htwa import HTWASizes, VideoEncoder
from vidalign.models.lf_vila.sizes import SIZES

BASE = HTWASizes(**SIZES["base"]["video"])
# (sizes, height and width): windows, resolution and time of the published model, narrower and with fewer blocks;
# `small` sees small pictures, so that full attention over 128 frames still fits into memory.
ENCODERS = {
    "base": (BASE, (192, 320)),
    "mid": (replace(BASE, embed_dim=64, depths=(2, 2, 4, 2, 2, 2), num_heads=(2, 4, 8, 8, 8, 16)), (192, 320)),
    "small": (replace(BASE, embed_dim=32, depths=(2, 2, 2, 2, 2, 2), num_heads=(1, 2, 4, 4, 4, 8)), (48, 80)),
}
FRAMES = (32, 64, 96, 128)
PRODUCTS = ("mm", "addmm", "bmm", "baddbmm")


def main() -> None:
    """Check that fast and exact agree, time them in turns, print the tables."""
    args = _arguments()
    torch.manual_seed(0)
    if args.threads:
        torch.set_num_threads(args.threads)
    print(f"{args.size}, {args.dtype}, {args.device}, batch {args.batch}, torch {torch.__version__}")
    if args.part in ("both", "paths"):
        _paths(args)
    if args.part in ("both", "frames"):
        _curve(args)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="mid", choices=list(ENCODERS))
    parser.add_argument("--part", default="both", choices=["both", "paths", "frames"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3, help="timed runs of each variant (default 3)")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads (default: torch's own choice)")
    return parser.parse_args()


def _paths(args: argparse.Namespace) -> None:
    sizes, hw = ENCODERS[args.size]
    fast, exact = _encoder(args, sizes), _encoder(args, sizes, exact=True)
    exact.load_state_dict(fast.state_dict())
    video = _video(args, 32, hw)
    outputs = [_step(args, encoder, video) for encoder in (fast, exact)]
    grads = [_gradients(encoder) for encoder in (fast, exact)]
    print(f"difference of fast and exact by its norm: features {_gap(*outputs):.1g}, gradients {_gap(*grads):.1g}")
    with _Products() as products:
        _step(args, exact, video)
    variants = {
        "exact": lambda: _step(args, exact, video),
        "fast": lambda: _step(args, fast, video),
        "floor": products.again,
    }
    timings = time_in_turns(variants, rounds=args.rounds, device=args.device)
    report("forward+backward", timings, unit="step")
    above = (ratio(timings, "fast", "floor", kind=kind) for kind in ("clock", "cpu"))
    print("fast / floor: {:.2f} by the clock, {:.2f} by CPU time".format(*above))
    if args.device == "cuda":
        for name in ("exact", "fast"):
            torch.cuda.reset_peak_memory_stats()
            variants[name]()
            print(f"peak memory, {name}: {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")


def _curve(args: argparse.Namespace) -> None:
    sizes, hw = ENCODERS[args.size]
    print(f"{'frames':>8}{'HTWA, s':>12}{'full attention, s':>20}   forward+backward")
    for frames in FRAMES:
        video = _video(args, frames, hw)
        # Full attention: one window over all frames and the whole picture in every block.
        whole = ((frames, hw[0] // sizes.patch_size[1], hw[1] // sizes.patch_size[2]),) * len(sizes.window_size)
        seconds = [_seconds(args, one, video) for one in (sizes, replace(sizes, window_size=whole))]
        print(f"{frames:>8}{seconds[0]:>12.2f}{seconds[1]:>20.2f}", flush=True)


def _seconds(args: argparse.Namespace, sizes: HTWASizes, video: Tensor) -> float:
    encoder = _encoder(args, sizes)
    timing = time_in_turns({"it": lambda: _step(args, encoder, video)}, rounds=args.rounds, device=args.device)["it"]
    return statistics.median(timing.cpu if args.device == "cpu" else timing.clock)


def _encoder(args: argparse.Namespace, sizes: HTWASizes, *, exact: bool = False) -> VideoEncoder:
    with torch.device(args.device):
        encoder = VideoEncoder(sizes, drop_path_rate=0.0, exact=exact)
        encoder.init_weights()
    return encoder.train()


def _video(args: argparse.Namespace, frames: int, hw: tuple[int, int]) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(args.batch, 3, frames, *hw, generator=generator).to(args.device)


def _step(args: argparse.Namespace, encoder: VideoEncoder, video: Tensor) -> Tensor:
    """The features; the gradients are in the weights afterwards."""
    encoder.zero_grad(set_to_none=True)
    with torch.autocast(args.device, dtype=torch.bfloat16, enabled=args.dtype == "bfloat16"):
        features = encoder(video)
    (features.float() * features.detach().roll(1, dims=-1).float()).mean().backward()
    return features.detach()


def _gradients(encoder: VideoEncoder) -> Tensor:
    """Of all weights, in one row."""
    return torch.cat([p.grad.flatten() for p in encoder.parameters() if p.grad is not None])


def _gap(one: Tensor, two: Tensor) -> float:
    return ((one - two).norm() / two.norm()).item()


class _Products(TorchDispatchMode):
    """Notes every matrix product that runs inside, and runs them `again` on random numbers of the same shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Callable, tuple[Any, ...]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        name = func.overloadpacket.__name__
        if name in PRODUCTS:
            pair = [one for one in args if isinstance(one, Tensor)][-2:]
            shapes = [(tuple(one.shape), one.dtype, one.device) for one in pair]
            self.calls.append((torch.bmm if pair[0].dim() == 3 else torch.mm, tuple(shapes)))
        return func(*args, **(kwargs or {}))

    def again(self) -> None:
        """All of them, in their order; the inputs are made once per shape."""
        if not hasattr(self, "_inputs"):
            shapes = {shape for _, pair in self.calls for shape in pair}
            self._inputs = {one: torch.randn(one[0], dtype=one[1], device=one[2]) for one in shapes}
        for product, (left, right) in self.calls:
            product(self._inputs[left], self._inputs[right])


if __name__ == "__main__":
    main()
