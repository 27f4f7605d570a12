"""Everything `vidalign scan` wants to know of one file, and the child process in which it is found out.

    python -m vidalign.media.video_facts DECODER SECONDS

reads one path per line from its input (JSON) and answers each with two lines of JSON: fields that PyAV and the boxes
give, then those of the decoder of the run, with "status". What is known before a decoder hangs is not lost.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from statistics import median
from typing import Any

from vidalign.common.errors import MediaError
from vidalign.media.containers import container_kind
from vidalign.media.mp4_boxes import mp4_facts
from vidalign.media.video import checked_kind, installed, open_unchecked

RATE_TOLERANCE_SECONDS = 0.002  # mkv rounds time stamps to milliseconds; that is no variable rate


def container_facts(path: Path) -> dict[str, Any]:
    """Fields of a manifest entry that need no decoder of the run; fewer without PyAV. Never raises for a bad file."""
    facts: dict[str, Any] = {"container": container_kind(path)}
    if installed("pyav"):
        facts |= _pyav_facts(path)
    return facts | mp4_facts(path) if facts["container"] == "mp4" else facts


def _pyav_facts(path: Path) -> dict[str, Any]:
    import av

    facts: dict[str, Any] = {}
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                return facts
            stream = container.streams.video[0]
            facts |= {"codec": stream.codec.canonical_name, "width": stream.width, "height": stream.height}
            facts["header_seconds"] = round(container.duration / 1e6, 3) if container.duration else None
            packets = [packet for packet in container.demux(stream) if packet.size]
            shown = [packet for packet in packets if not packet.is_discard]
            facts |= {"frames": len(shown), "hidden_frames": len(packets) - len(shown)}
            facts["fps"] = float(stream.average_rate or stream.guessed_rate or 0) or None
            stamps = sorted(packet.pts for packet in shown if packet.pts is not None)
            facts["variable_rate"] = _varies(stamps, float(stream.time_base or 0))
        with av.open(str(path)) as container:
            first = next(container.decode(container.streams.video[0]), None)
            facts["rotation"] = None if first is None else round(getattr(first, "rotation", 0)) % 360
    except (av.error.FFmpegError, IndexError, ValueError):
        return facts  # the decoder of the run says what is wrong; here only what could be read
    return facts


def _varies(stamps: list[int], tick_seconds: float) -> bool | None:
    steps = [later - earlier for earlier, later in zip(stamps, stamps[1:], strict=False)]
    if len(steps) < 2 or not tick_seconds:
        return None
    usual = median(steps)
    return max(abs(step - usual) for step in steps) * tick_seconds > max(RATE_TOLERANCE_SECONDS, 1.01 * tick_seconds)


def decoder_facts(path: Path, decoder: str) -> dict[str, Any]:
    """Fields of a manifest entry as the decoder of the run sees the file.

    status "damaged" when one of the first and the last frame can be decoded, "bad" when neither can.
    """
    try:
        with open_unchecked(path, decoder) as video:
            facts = {"decoded_frames": video.num_frames, "decoded_fps": video.fps}
            reasons = []
            for name, index in (("first_frame", 0), ("last_frame", video.num_frames - 1)):
                facts[name] = True
                try:
                    facts["height"], facts["width"] = (int(n) for n in video.decode([index]).shape[1:3])
                except MediaError as error:
                    facts[name] = False
                    reasons.append(str(error))
    except MediaError as error:
        return {"status": "bad", "reason": str(error), "first_frame": False}
    status = ("ok", "damaged", "bad")[len(reasons)]
    return facts | {"status": status, "reason": reasons[0] if reasons else None}


def usable_at_all(path: Path) -> str | None:
    """Why this is no file that a decoder should see (folder, empty, text ...); None when it may be one."""
    try:
        checked_kind(path)
    except MediaError as error:
        return str(error)
    return None


def serve(decoder: str, limit_seconds: float) -> None:
    """The child: answer until the input ends. Past the limit it ends itself, should the parent be gone by then."""
    # Decoders print; answers must be the only thing on the pipe.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def tell(values: dict[str, Any]) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    installed(decoder)  # imports it, so that the first file does not pay for that
    tell({"ready": True})
    for line in sys.stdin:
        path = Path(json.loads(line))
        signal.setitimer(signal.ITIMER_REAL, limit_seconds + 5)
        tell(container_facts(path))
        tell(decoder_facts(path, decoder))
        signal.setitimer(signal.ITIMER_REAL, 0)


if __name__ == "__main__":
    serve(sys.argv[1], float(sys.argv[2]))
