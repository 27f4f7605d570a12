"""First opening of a doubtful video file, in a child process with a time limit.

decord 0.6 can hang for minutes on containers it half understands (MPEG-TS) and no Python code can interrupt it. One
child per such file is simple and cheap enough (about half a second), because `open_video` asks for it only where the
first bytes are not those of a container in SAFE_CONTAINERS; ordinary mp4, mkv and avi files never pay.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

from vidalign.common.errors import MediaError

PROBE_SECONDS = 30.0


def probe_video(path: Path, *, decoder: str = "decord", timeout_seconds: float = PROBE_SECONDS) -> None:
    """Open the file and decode its first and last frame in a child process; MediaError when it fails, crashes or hangs.

    The answer is remembered per process for the file's size and modification time.
    """
    status = path.stat()
    reason = _probe(str(path), decoder, timeout_seconds, status.st_size, status.st_mtime_ns)
    if reason:
        raise MediaError(reason)


@lru_cache(maxsize=4096)
def _probe(path: str, decoder: str, timeout_seconds: float, size: int, mtime_ns: int) -> str | None:
    root = str(Path(__file__).resolve().parents[2])
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
    command = [sys.executable, "-m", "vidalign.media.probe", path, decoder]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_seconds, env=env, check=False)
    except subprocess.TimeoutExpired:
        return f"{decoder} gave no answer for this file within {timeout_seconds:g} s; try decoder: pyav"
    if done.returncode < 0:
        return f"{decoder} crashed on this file (signal {-done.returncode}); try decoder: pyav"
    lines = done.stdout.strip().splitlines()
    return (lines[-1] if lines else f"{decoder} cannot read this file") if done.returncode else None


def _probe_main(path: str, decoder: str) -> int:
    from vidalign.media.video import open_unchecked

    try:
        with open_unchecked(Path(path), decoder) as video:
            video.decode([0, video.num_frames - 1])
    except MediaError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_probe_main(sys.argv[1], sys.argv[2]))
