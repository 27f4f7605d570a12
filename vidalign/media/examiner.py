"""One file after the other through a child process with a time limit; a child that hangs or dies is replaced."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from vidalign.common.errors import ConfigError
from vidalign.media.manifest import Entry
from vidalign.media.video import decoder_version
from vidalign.media.video_facts import usable_at_all

START_SECONDS = 300.0  # importing a decoder on a cold, busy machine


class Examiner:
    """`examine(path)` -> Entry, at most `timeout_seconds` per file. Close it; one thread at a time."""

    def __init__(self, decoder: str, timeout_seconds: float) -> None:
        self.decoder, self.timeout_seconds = decoder, timeout_seconds
        self._version = decoder_version(decoder)
        self._child: subprocess.Popen[bytes] | None = None
        self._read = b""

    def examine(self, path: Path, name: str) -> Entry:
        """The entry called `name`; never raises for a bad file."""
        size, mtime_ns = _size_and_time(path)
        known: dict[str, Any] = {"file": name, "size": size, "mtime_ns": mtime_ns, "decoder": self._version}
        reason = usable_at_all(path)
        if reason is not None:
            return Entry(**known, status="bad", reason=reason)
        return make_entry(known | self._ask(path))

    def kill(self) -> None:
        """End the file that is being examined now, from another thread."""
        child = self._child
        if child is not None:
            child.kill()

    def close(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def _ask(self, path: Path) -> dict[str, Any]:
        child = self._started()
        until = time.monotonic() + self.timeout_seconds
        found: dict[str, Any] = {}
        try:
            child.stdin.write(json.dumps(str(path.absolute())).encode() + b"\n")
            child.stdin.flush()
            while "status" not in found:
                found |= self._answer(until)
            return found
        except TimeoutError:
            why = f"gave no answer for this file within {self.timeout_seconds:g} s"
        except (EOFError, BrokenPipeError):
            child.wait()
            why = f"crashed on this file (exit code {child.returncode})"
        self.close()
        return found | {"status": "bad", "reason": f"{self.decoder} {why}; {_try(self.decoder)}", "first_frame": False}

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is not None and self._child.poll() is None:
            return self._child
        self.close()
        root = str(Path(__file__).resolve().parents[2])
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
        command = [sys.executable, "-m", "vidalign.media.video_facts", self.decoder, str(self.timeout_seconds)]
        # A group of its own: Ctrl-C is for the parent, which ends the children itself.
        self._child = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._read = b""
        try:
            self._answer(time.monotonic() + START_SECONDS)
        except (TimeoutError, EOFError) as error:
            self.close()
            raise ConfigError(
                f"the process that opens videos with {self.decoder} does not start; `vidalign doctor` says more"
            ) from error
        return self._child

    def _answer(self, until: float) -> dict[str, Any]:
        """The next line of the child; EOFError when it is dead, TimeoutError when the time is up."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._child.stdout, selectors.EVENT_READ)
            while b"\n" not in self._read:
                left = until - time.monotonic()
                if left <= 0 or not selector.select(left):
                    raise TimeoutError
                block = os.read(self._child.stdout.fileno(), 65536)
                if not block:
                    raise EOFError
                self._read += block
        line, _, self._read = self._read.partition(b"\n")
        return json.loads(line)


def make_entry(found: dict[str, Any]) -> Entry:
    """What PyAV and the decoder said as one entry, with the warnings that follow from it."""
    decoded, fps = found.pop("decoded_frames", None), found.pop("decoded_fps", None)
    counted = found.get("frames")
    differ = _differences(found, counted, decoded)
    frames = counted if counted else decoded
    fps = found.get("fps") or fps
    seconds = round(frames / fps, 3) if frames and fps else None
    header, warnings = found.get("header_seconds"), []
    if seconds and header and abs(header - seconds) > max(1.0, 0.1 * seconds):
        warnings.append(f"the header claims {header:g} s, its frames last {seconds:g} s")
    if found.get("variable_rate"):
        warnings.append("variable frame rate: frame numbers are not times")
    values = found | {"frames": frames, "fps": fps and round(fps, 6), "seconds": seconds}
    return Entry(**values, decoders_differ=tuple(differ), warnings=tuple(warnings))


def _differences(found: dict[str, Any], counted: int | None, decoded: int | None) -> list[str]:
    """Why another decoder would show other frames of this file."""
    reasons = []
    hidden, decoder = found.get("hidden_frames"), found["decoder"].split()[0]
    if hidden:
        reasons.append(f"its edit list hides {hidden} frames: decord counts and shows them, the others do not")
    elif (found.get("edits") or 0) > 1:
        reasons.append(f"its edit list has {found['edits']} entries: decord plays the frames as they are stored")
    if counted and decoded and counted != decoded and not hidden:
        reasons.append(f"{decoder} sees {decoded} frames, {counted} are stored for showing")
    if found.get("container") == "avi" and found.get("codec") == "mpeg4":
        reasons.append("MPEG-4 in AVI: with B-frames decord is one or two frames late")
    if found.get("codec") in ("av1", "gif") and decoder == "decord":
        reasons.append(f"decord reads no {found['codec'].upper()}, torchcodec and pyav do")
    if found.get("container") == "mpeg-ts":
        reasons.append("MPEG-TS: decord and torchcodec fail or hang, pyav reads it")
    return reasons


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _try(decoder: str) -> str:
    return "try decoder: pyav" if decoder != "pyav" else "convert it with ffmpeg, or leave it out"
