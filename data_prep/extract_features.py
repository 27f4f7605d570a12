"""Make visual features from videos: a memory-mapped store, and on wish the official dictionary clipvitl14.pth.

    python data_prep/extract_features.py --videos data/star/videos --encoder checkpoints/clip-vit-large-patch14 \\
        --output data/star/features --fps 1 --official data/star/clipvitl14.pth

Can be stopped at any time and started again: finished videos are skipped, changed files are made anew. A video that
cannot be read is listed with its reason and never stops the work. Several processes share it under torchrun:

    torchrun --nproc_per_node 8 data_prep/extract_features.py ...
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package of this checkout, installed or not

from vidalign.common.errors import DataError, UserError

if TYPE_CHECKING:
    from vidalign.runners.extract import ExtractionReport

SUFFIXES = {".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".flv", ".wmv", ".3gp", ".ts", ".gif"}
SHOWN_FAILURES = 20
VIDEOS_HELP = (
    "folder (searched with its subfolders; id = file stem), text file with one path per line, or JSON file {id: path}"
)
DTYPE_HELP = (
    "type of the encoder's weights (default float16 on CUDA, as for the official files, else float32); rows are always "
    "stored as float16"
)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = command.add_argument
    add("--videos", type=Path, required=True, help=VIDEOS_HELP)
    add("--root", type=Path, help="folder that paths in a list are relative to (default: the folder of the list)")
    add("--encoder", required=True, help="folder or hub name of a Hugging Face CLIP model, or `tiny` (random, tests)")
    add("--output", type=Path, required=True, help="folder of the store; continues when it exists")
    add("--fps", type=float, default=1.0, help="rows per second of video (default 1; the official TVQA file has 3)")
    add("--decoder", default="decord", choices=("decord", "torchcodec", "pyav"), help="default decord (as published)")
    add("--official", type=Path, help="also write {id: (n, D) half tensor} into this .pth file (one process only)")
    add("--device", default="auto", help="auto (CUDA when there is one), cpu, cuda, cuda:1 ...")
    add("--batch-frames", type=int, default=64, help="frames per forward pass of the encoder (default 64)")
    add("--dtype", default=None, choices=("float32", "float16", "bfloat16"), help=DTYPE_HELP)
    add("--tiny-dim", type=int, default=768, help="width of a row with --encoder tiny (default 768)")
    add("--decode-threads", type=int, default=2, help="videos decoded at the same time (default 2)")
    add("--retry-failed", action="store_true", help="try videos again that failed before")
    return command


def find_videos(where: Path, root: Path | None = None) -> dict[str, Path]:
    """id -> file, from a folder, a text list or a JSON table. Two files with one id are a DataError."""
    if where.is_dir():
        return _by_stem(sorted(path for path in where.rglob("*") if path.suffix.lower() in SUFFIXES), where)
    if not where.is_file():
        raise DataError(f"--videos {where}: no such folder or file")
    base, text = root or where.parent, where.read_text(encoding="utf-8")
    if where.suffix != ".json":
        return _by_stem([base / line.strip() for line in text.splitlines() if line.strip()], where)
    try:
        table = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"--videos {where}:{error.lineno}: not JSON: {error.msg}") from error
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        raise DataError(f"--videos {where}: must be a JSON object {{id: path}}")
    return {str(key): base / value for key, value in table.items()}


def _by_stem(paths: list[Path], where: Path) -> dict[str, Path]:
    videos: dict[str, Path] = {}
    for path in paths:
        if path.stem in videos:
            raise DataError(
                f"{where}: {videos[path.stem]} and {path} have the same id {path.stem!r}; give a JSON file {{id: path}}"
            )
        videos[path.stem] = path
    if not videos:
        raise DataError(f"--videos {where}: no video in it (known suffixes: {' '.join(sorted(SUFFIXES))})")
    return videos


def run(options: argparse.Namespace) -> ExtractionReport:
    """Extract, write the official file, print the table."""
    import torch

    from vidalign.backbones.clip import load_clip_vision
    from vidalign.media.video import require_decoder
    from vidalign.runners.extract import estimated_size, extract_features, write_official

    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if options.official and world > 1:
        raise DataError("--official needs one process: run the same command again without torchrun afterwards")
    require_decoder(options.decoder)
    videos = find_videos(options.videos, options.root)
    device = _device(options.device)
    dtype = getattr(torch, options.dtype or ("float16" if device.startswith("cuda") else "float32"))
    encoder = load_clip_vision(options.encoder, device=device, dtype=dtype, tiny_dim=options.tiny_dim)
    if rank == 0:
        size, seen = estimated_size(videos, fps=options.fps, decoder=options.decoder, dim=encoder.dim)
        rate = f"{encoder.dim} numbers per row, {options.fps:g} rows per second, on {device}"
        print(f"{len(videos)} videos -> {options.output}: about {_readable(size)} (from {seen} of them); {rate}")
    start = time.monotonic()
    report = extract_features(
        videos,
        encoder=encoder,
        store=options.output,
        fps=options.fps,
        decoder=options.decoder,
        batch_frames=options.batch_frames,
        rank=rank,
        world=world,
        decode_threads=options.decode_threads,
        retry_failed=options.retry_failed,
    )
    print(table(report, time.monotonic() - start), flush=True)
    if options.official:
        count = write_official(options.output, options.official)
        print(f"{options.official}: {count} videos, {_readable(options.official.stat().st_size)}")
    return report


def _device(name: str) -> str:
    import torch

    if name != "auto":
        return name
    return f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if torch.cuda.is_available() else "cpu"


def _readable(size: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} GiB"


def table(report: ExtractionReport, seconds: float) -> str:
    """The closing lines: counts, then every failure with its reason."""
    lines = [
        f"made     {report.done} videos, {report.rows} rows, {seconds:.1f} s",
        f"skipped  {report.skipped} (finished before)",
        f"failed   {len(report.failed)}",
    ]
    width = max((len(key) for key in report.failed), default=0)
    shown = sorted(report.failed.items())[:SHOWN_FAILURES]
    lines += [f"  {key:<{width}}  {reason}" for key, reason in shown]
    if len(report.failed) > len(shown):
        lines.append(f"  ... and {len(report.failed) - len(shown)} more (see `failed` in the store's shard-*.json)")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """0 when everything could be run (failed videos included), 2 for a mistake of the user."""
    options = parser().parse_args(arguments)
    try:
        run(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
