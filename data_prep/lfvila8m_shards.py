"""Pack LF-VILA-8M's records with their clips into tar shards (webdataset's layout), each read with one positioned read.

    python data_prep/lfvila8m_shards.py --records data/lfvila8m/train.jsonl --videos data/lfvila8m/videos \\
        --output data/lfvila8m/shards/train [--records-per-shard 1000]

Writes train-000000.tar ...: per record `<number>.json` and `<number>.0.mp4`, `<number>.1.mp4` ... Shards that are there
already are left alone. A record with a missing clip is left out and counted. datasets.lfvila8m.root is then the folder
of the shards.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package of this checkout, installed or not

from vidalign.cli import guarded
from vidalign.common.errors import DataError, UserError
from vidalign.common.io import atomic_write
from vidalign.data.sets.lfvila8m import jsonl_records


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, write the shards, print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=Path, required=True, help="records, JSON Lines (data_prep/lfvila8m.py)")
    parser.add_argument("--videos", type=Path, required=True, help="folder with <video_id>/<clip_id>")
    parser.add_argument("--output", type=Path, required=True, help="folder and beginning of the shards' names")
    parser.add_argument("--records-per-shard", type=int, default=1000, help="(default 1000)")
    given = parser.parse_args(arguments)
    if given.records_per_shard < 1:
        raise UserError(f"--records-per-shard {given.records_per_shard}: at least 1")
    given.output.parent.mkdir(parents=True, exist_ok=True)
    block: list[tuple[int, Any]] = []
    shards = packed = lost = 0
    for number, record in enumerate(jsonl_records(given.records)):
        files = [given.videos / clip["clip_id"].split(".")[0] / clip["clip_id"] for clip in record]
        if not all(file.is_file() for file in files):
            lost += 1
            continue
        block.append((number, (record, files)))
        if len(block) == given.records_per_shard:
            shards, packed, block = shards + pack(given.output, shards, block), packed + len(block), []
    shards, packed = shards + (pack(given.output, shards, block) if block else 0), packed + len(block)
    if not packed:
        raise DataError(
            f"{given.videos}: every clip is there for none of the {lost} records; give the folder of the clips"
        )
    print(f"{packed} records in {shards} shards, {lost} left out for a missing clip -> {given.output}-*.tar")


def pack(prefix: Path, number: int, block: list[tuple[int, Any]]) -> int:
    """One shard, unless it is there; returns 1."""
    path = prefix.with_name(f"{prefix.name}-{number:06d}.tar")
    if not path.is_file():
        with atomic_write(path, "wb") as file, tarfile.open(fileobj=file, mode="w") as shard:
            for key, (record, files) in block:
                content = json.dumps(record).encode()
                member = tarfile.TarInfo(f"{key:09d}.json")
                member.size = len(content)
                shard.addfile(member, io.BytesIO(content))
                for place, clip in enumerate(files):
                    shard.add(clip, arcname=f"{key:09d}.{place}{clip.suffix}", filter=_plain)
    return 1


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without the owner and time of this machine: equal inputs give equal shards."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    sys.exit(guarded(main))
