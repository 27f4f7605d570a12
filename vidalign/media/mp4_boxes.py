"""Edit list and claimed duration of an mp4 or mov file, read from its boxes without a decoder (ISO/IEC 14496-12).

A clip that was cut without re-encoding keeps hidden frames before its start and says so in an edit list only; decord
counts and shows them, other decoders do not.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

_PARENTS = (b"moov", b"trak", b"edts", b"mdia")  # nested in this order, so never deeper than this
MAX_BOXES = 10_000  # a made-up file may chain boxes without end


def mp4_facts(path: Path) -> dict[str, Any]:
    """edits: entries in the edit list of the first video track, 0 without one, None when there is no such track;
    header_seconds: the duration that the movie header claims (decoders add up the frames instead), None without one.
    """
    size = path.stat().st_size
    edits, is_video, claimed = 0, False, None
    with open(path, "rb") as file:
        for box, start, end in _boxes(file, 0, size, [MAX_BOXES], depth=len(_PARENTS)):
            if box == b"mvhd":
                claimed = _movie_seconds(file, start, end)
            elif box == b"trak":
                if is_video:
                    break
                edits = 0
            elif box == b"elst" and end - start >= 8:
                file.seek(start + 4)
                edits = struct.unpack(">I", file.read(4))[0]
            elif box == b"hdlr" and end - start >= 12:
                file.seek(start + 8)
                is_video = is_video or file.read(4) == b"vide"
    return {"edits": edits if is_video else None, "header_seconds": claimed}


def _movie_seconds(file: BinaryIO, start: int, end: int) -> float | None:
    file.seek(start)
    data = file.read(min(end - start, 36))
    if len(data) < 20:
        return None
    long = data[0] == 1 and len(data) >= 32  # 64-bit times
    scale, duration = struct.unpack_from(">IQ" if long else ">II", data, 20 if long else 12)
    return round(duration / scale, 3) if scale else None


def _boxes(file: BinaryIO, start: int, end: int, left: list[int], *, depth: int) -> Iterator[tuple[bytes, int, int]]:
    """(type, begin and end of the content) of the boxes between two offsets, inner ones after their parent."""
    while start + 8 <= end and left[0] > 0:
        left[0] -= 1
        file.seek(start)
        length, kind = struct.unpack(">I4s", file.read(8))
        head = 8
        if length == 1 and start + 16 <= end:
            length, head = struct.unpack(">Q", file.read(8))[0], 16
        stop = end if length == 0 else start + length
        if stop < start + head or stop > end:
            return
        yield kind, start + head, stop
        if kind in _PARENTS and depth:
            yield from _boxes(file, start + head, stop, left, depth=depth - 1)
        start = stop
