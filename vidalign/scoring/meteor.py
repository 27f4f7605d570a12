"""METEOR 1.5 (Denkowski and Lavie 2014) by its authors' Java program, as the COCO caption toolkit calls it.

The program is not part of this package: it comes with pycocoevalcap (`pip install pycocoevalcap`) or from its authors.
Nothing is downloaded. Where Java or the program is missing the metric is left out, with the reason.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from importlib import util
from pathlib import Path

from vidalign.common.errors import DataError

JAR = "meteor-1.5.jar"
_OPTIONS = ("-Xmx2G", "-Dfile.encoding=UTF-8", "-jar")


def find_meteor(jar: str | Path | None = None) -> tuple[Path | None, str | None]:
    """(the program's file, None), or (None, why METEOR cannot be computed here). `jar` None: the one of pycocoevalcap.

    DataError when a file that was named does not exist.
    """
    if jar is not None and not Path(jar).is_file():
        raise DataError(f"task.meteor_jar: {jar} does not exist; give the path of {JAR}, or null")
    if shutil.which("java") is None:
        return None, "METEOR is not computed: it is a Java program and there is no java on this machine"
    if jar is not None:
        return Path(jar), None
    package = util.find_spec("pycocoevalcap")
    places = package.submodule_search_locations if package is not None else None
    found = [Path(place) / "meteor" / JAR for place in places or ()]
    if not found or not found[0].is_file():
        return (
            None,
            f"METEOR is not computed: {JAR} is missing (pip install pycocoevalcap, or name it: task.meteor_jar)",
        )
    return found[0], None


def meteor(
    pairs: Sequence[tuple[str, Sequence[str]]], *, jar: str | Path | None = None
) -> tuple[float | None, str | None]:
    """(hypothesis, references), both tokenized, of a corpus -> (METEOR, None), or (None, why it is missing)."""
    path, why = find_meteor(jar)
    if path is None:
        return None, why
    # The folder matters: the program reads its tables of synonyms from beside itself.
    command = ["java", *_OPTIONS, path.name, "-", "-", "-stdio", "-l", "en", "-norm"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    try:
        with subprocess.Popen(command, cwd=path.parent, encoding="utf-8", **pipes) as program:
            counted = [_answer(program, _score_line(*pair)) for pair in pairs]
            # What was counted for each caption goes back in one line; the corpus score follows those of the captions.
            first = _answer(program, "EVAL ||| " + " ||| ".join(counted))
            scores = [first, *(program.stdout.readline() for _ in pairs)]
            program.kill()
        return float(scores[-1]), None
    except (ValueError, OSError) as error:
        raise DataError(f"METEOR ({path}) failed: {error}; set task.meteor to false to go without it") from error


def _answer(program: subprocess.Popen[str], line: str) -> str:
    program.stdin.write(line + "\n")
    program.stdin.flush()
    return program.stdout.readline().strip()


def _score_line(hypothesis: str, references: Sequence[str]) -> str:
    # Kept: the toolkit's own clean-up, which leaves the references alone.
    hypothesis = hypothesis.replace("|||", "").replace("  ", " ")
    return " ||| ".join(("SCORE", *references, hypothesis))
