"""TOPA's cross-modal projection of many videos onto a support memory on disk: time against the bare matrix products.

    python benchmarks/memory_projection.py                          1 000 videos of 10 frames, 1 000 000 rows (long)
    python benchmarks/memory_projection.py --videos 100             a tenth of the work; time grows with the videos
    python benchmarks/memory_projection.py --batch 8                8 videos at a time, as an evaluation asks for them

Writes a memory of random unit rows (.npy; 1.5 GB at float16), reads it memory-mapped. The floor is frames x rows and
weights x rows alone: the same sizes, in RAM, in float32, into buffers made beforehand; both are timed on a share of the
rows, in turns. RAM is the process's peak beyond what it had before, with the mapped pages of the file (which the system
may drop at any time) and without.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from turns import ratio, time_in_turns

from vidalign.models.topa.cross_modal import SupportMemory

WIDTH, WRITTEN_AT_ONCE = 768, 50_000


def main() -> None:
    """Write the memory, compare numbers on a part of it, time both, then run all of it and watch the RAM."""
    args = _arguments()
    torch.manual_seed(0)
    if args.threads:
        torch.set_num_threads(args.threads)
    frames = F.normalize(torch.randn(args.videos * args.frames, WIDTH), dim=-1)
    step = (args.batch or args.videos) * args.frames
    print(f"{args.videos} videos of {args.frames} frames, {args.batch or args.videos} at a time, {args.rows} rows")
    print(f"of {args.dtype}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "memory.npy"
        _write_memory(path, args)
        part = SupportMemory(path, width=WIDTH, rows=max(1, int(args.rows * args.share)))
        _compare(frames[:20], part)
        variants = {"floor": _bare_products(frames, part, step), "project": lambda: _project(part, frames, step)}
        timings = time_in_turns(variants, rounds=args.rounds)
        clock, cpu = (ratio(timings, "project", "floor", kind=kind) for kind in ("clock", "cpu"))
        print(f"{len(part.rows)} rows: the projection takes {clock:.2f} x the floor, {cpu:.2f} x by CPU time")
        if args.share < 1.0 and not args.no_whole:
            _whole(SupportMemory(path, width=WIDTH), frames, step)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=1000)
    parser.add_argument("--frames", type=int, default=10, help="per video")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the memory")
    parser.add_argument("--batch", type=int, default=None, help="videos at a time (default: all)")
    parser.add_argument("--dtype", default="float16", choices=["float16", "float32"], help="of the file")
    parser.add_argument("--share", type=float, default=0.05, help="of the rows that are timed against the floor")
    parser.add_argument("--rounds", type=int, default=3, help="timed runs of each variant (default 3)")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads (default: torch's own choice)")
    parser.add_argument("--folder", help="where the memory is written for the time being; default: the system's")
    parser.add_argument("--no-whole", action="store_true", help="leave out the run over all rows")
    return parser.parse_args()


def _write_memory(path: Path, args: argparse.Namespace) -> None:
    memory = np.lib.format.open_memmap(path, mode="w+", dtype=args.dtype, shape=(args.rows, WIDTH))
    for start in range(0, args.rows, WRITTEN_AT_ONCE):
        count = min(WRITTEN_AT_ONCE, args.rows - start)
        memory[start : start + count] = F.normalize(torch.randn(count, WIDTH), dim=-1).numpy()
    memory.flush()


def _compare(frames_NE: torch.Tensor, memory: SupportMemory) -> None:
    rows_ME = memory.rows.float()
    want_NE = F.normalize((frames_NE @ rows_ME.T / memory.temperature).softmax(-1) @ rows_ME, dim=-1)
    print(f"differs from the plain formula by at most {(memory.project(frames_NE) - want_NE).abs().max():.1e}")


def _project(memory: SupportMemory, frames_NE: torch.Tensor, step: int) -> None:
    for block_NE in frames_NE.split(step):
        memory.project(block_NE)


def _bare_products(frames_NE: torch.Tensor, memory: SupportMemory, step: int):
    rows_ME = memory.rows.float()
    tiles = rows_ME.split(4096)
    blocks = frames_NE.split(min(step, 512))
    scores = torch.empty(len(blocks[0]), len(tiles[0]))
    sums = torch.empty_like(blocks[0])

    def run() -> None:
        for block_NE in blocks:
            for tile_CE in tiles:
                score_NC = scores[: len(block_NE), : len(tile_CE)]
                torch.mm(block_NE, tile_CE.T, out=score_NC)
                torch.mm(score_NC, tile_CE, out=sums[: len(block_NE)])

    return run


def _whole(memory: SupportMemory, frames_NE: torch.Tensor, step: int) -> None:
    before, stop, peak = _resident(), threading.Event(), {"all": 0, "anonymous": 0}

    def watch() -> None:
        while not stop.wait(0.05):
            now = _resident()
            peak.update({name: max(peak[name], now[name] - before[name]) for name in peak})

    watcher = threading.Thread(target=watch)
    watcher.start()
    start, start_cpu = time.perf_counter(), time.process_time()
    _project(memory, frames_NE, step)
    clock, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    stop.set()
    watcher.join()
    print(f"all rows: {clock:.1f} s by the clock, {cpu:.1f} s of CPU time; extra RAM at its peak", end=" ")
    print(f"{peak['all'] / 2**30:.2f} GiB, {peak['anonymous'] / 2**30:.2f} GiB without the file's pages")


def _resident() -> dict[str, int]:
    """Bytes of this process in RAM (Linux): all of them, and those that belong to no file."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines())
    return {"all": int(lines["VmRSS"].split()[0]) * 1024, "anonymous": int(lines["RssAnon"].split()[0]) * 1024}


if __name__ == "__main__":
    main()
