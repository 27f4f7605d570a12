"""What kind of file is this? Told from the first bytes, without a decoder."""

from __future__ import annotations

from pathlib import Path

# Containers that decord either reads or refuses at once. Others (MPEG-TS above all) made it hang for minutes.
SAFE_CONTAINERS = frozenset({"mp4", "matroska", "avi"})

_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"pnot")
_SIGNATURES = (
    (b"\x1a\x45\xdf\xa3", "matroska"),
    (b"FLV", "flv"),
    (b"OggS", "ogg"),
    (b"GIF8", "gif"),
    (b"\x30\x26\xb2\x75", "asf"),
    (b"\x00\x00\x01\xba", "mpeg"),
    (b"\x00\x00\x01\xb3", "mpeg"),
    (b"\x00\x00\x00\x01", "raw stream"),
)
_TS_PACKET_BYTES = 188


def container_kind(path: Path) -> str:
    """ "mp4", "matroska", "avi", "mpeg-ts" ...; "text" for readable text; "unknown" for everything else."""
    with open(path, "rb") as file:
        head = file.read(1024)
    if head[4:8] in _MP4_BOXES:
        return "mp4"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    if head[:1] == b"\x47" and head[_TS_PACKET_BYTES : _TS_PACKET_BYTES + 1] in (b"\x47", b""):
        return "mpeg-ts"
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    return "text" if _is_text(head) else "unknown"


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # a character cut by the end of the block is no sign of binary data
            return False
        text = head[: error.start].decode("utf-8")
    return all(character.isprintable() or character in "\t\r\n\f" for character in text)
