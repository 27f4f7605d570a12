"""Make CLIP text features from captions: a memory-mapped store, and on wish a support memory for TOPA.

    python data_prep/extract_text_features.py --captions data/textvid/textvid.json \\
        --encoder checkpoints/clip/vit-large-patch14 --output data/textvid/features --memory data/textvid/memory.npy

The captions are TextVID's json list, or JSON Lines with `id` and `captions` (a list) or `frames` (lists of captions).
One row per caption, in the order of the file; name the folder as `datasets.textvid.features`, and the memory as
`model.memory.path`. Can be stopped at any time and started again: finished entries that did not change are skipped.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package of this checkout, installed or not

from vidalign.common.errors import UserError


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = command.add_argument
    add("--captions", type=Path, required=True, help="textvid.json, or a .jsonl file")
    add("--encoder", required=True, help="folder or hub name of a Hugging Face CLIP model, or `tiny` (random, tests)")
    add("--output", type=Path, required=True, help="folder of the store; continues when it exists")
    add("--memory", type=Path, help="also write the captions as unit rows into this .npy file")
    add(
        "--memory-rows",
        type=int,
        default=1_000_000,
        help="at most so many rows of memory (default 1000000, as published)",
    )
    add("--device", default="auto", help="auto (CUDA when there is one), cpu, cuda, cuda:1 ...")
    add("--batch-captions", type=int, default=256, help="captions per forward pass (default 256)")
    add("--dtype", default=None, choices=("float32", "float16", "bfloat16"), help="of the encoder (float16 on CUDA)")
    add("--tiny-dim", type=int, default=768, help="width of a row with --encoder tiny (default 768)")
    return command


def run(options: argparse.Namespace) -> None:
    """Say how much it will be, encode, write the memory, print what was done."""
    import torch

    from vidalign.backbones.clip_text import load_clip_text
    from vidalign.runners.extract_text import extract_texts, ids_of, read_captions, write_memory

    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = getattr(torch, options.dtype or ("float16" if device.startswith("cuda") else "float32"))
    entries = read_captions(options.captions)
    ids = ids_of(options.encoder)
    encoder = load_clip_text(options.encoder, device=device, dtype=dtype, tiny_dim=options.tiny_dim)
    count = sum(len(texts) for _, texts in entries)
    size = count * encoder.dim * 2 / 2**20
    print(f"{len(entries)} texts, {count} captions -> {options.output}: {size:.1f} MiB, on {device}", flush=True)
    if options.memory:
        kept = min(count, options.memory_rows)
        print(f"memory of {kept} rows -> {options.memory}: {kept * encoder.dim * 4 / 2**20:.1f} MiB", flush=True)
    start = time.monotonic()
    report = extract_texts(
        entries, encoder=encoder, ids=ids, store=options.output, batch_captions=options.batch_captions
    )
    print(f"made     {report.done} texts, {report.captions} rows, {time.monotonic() - start:.1f} s")
    print(f"skipped  {report.skipped} (finished before)")
    if report.cut:
        print(f"cut      {report.cut} captions were longer than {encoder.max_tokens} tokens")
    if options.memory:
        print(f"memory   {write_memory(options.output, options.memory, rows=options.memory_rows)} rows")


def main(arguments: list[str] | None = None) -> int:
    """0 when everything was done, 2 for a mistake of the user."""
    options = parser().parse_args(arguments)
    try:
        run(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
