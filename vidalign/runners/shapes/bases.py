"""The tiny pretrained models of the drawn world: CLIP, language model, T5, vision tower. Made once per cache.

They stand for the pretrained models of the published systems and see clips of their own only: the name of their split
is part of every draw, so no train, val or test clip of any seed is among them. The language models see text alone.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vidalign.common.errors import UserError, unknown
from vidalign.common.io import content_key, file_key, write_json
from vidalign.common.rng import draw_seed
from vidalign.runners.shapes.parts import PARTS
from vidalign.runners.shapes.settings import BaseSettings, OnStep

_log = logging.getLogger(__name__)
_DRAWN_BY = ("data/shapes/world.py", "data/shapes/questions.py", "data/shapes/draw.py")
# These start from other parts, which are made first.
_NEEDS_OTHERS = ("visual_start", "eve")


def make_bases(
    folder: Path,
    settings: BaseSettings,
    *,
    parts: Sequence[str] = ("clip", "llm", "visual_start"),
    redo: bool = False,
    progress: bool = True,
    workers: int = 2,
) -> dict[str, dict[str, Any]]:
    """Make the named parts in `folder`, or find them there; returns part -> report.

    A report has the content key, the seconds, what was measured on unseen clips, and `made`: whether it was made just
    now. Up to `workers` parts are made at once, with one thread each. ConfigError for an unknown part; TrainingError
    when a language model stays below the gate: nothing is left then that says it were usable.
    """
    for name in parts:
        if name not in PARTS:
            raise UserError(f"--parts: {unknown('base', name, PARTS)}")
    reports = {name: _found(folder, name, settings) for name in ("text", *parts)}
    todo = [name for name, report in reports.items() if report is None or redo]
    if "text" in todo:
        reports["text"] = _make("text", folder, settings, 0, progress)
        todo.remove("text")
    alone = [name for name in todo if name not in _NEEDS_OTHERS]
    reports |= _at_once(alone, folder, settings, progress, workers)
    return reports | {name: _make(name, folder, settings, 0, progress) for name in todo if name in _NEEDS_OTHERS}


def _at_once(
    names: Sequence[str], folder: Path, settings: BaseSettings, progress: bool, workers: int
) -> dict[str, dict[str, Any]]:
    if workers == 1 or len(names) < 2:
        return {name: _make(name, folder, settings, 0, progress) for name in names}
    import multiprocessing

    # "spawn": a forked child of a process that has used torch's threads may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        made = [pool.submit(_make, name, folder, settings, line, progress) for line, name in enumerate(names)]
        return {name: one.result() for name, one in zip(names, made, strict=True)}


def part_key(name: str, settings: BaseSettings) -> str:
    """Names a base by its settings and by the code that makes it."""
    package = Path(__file__).resolve().parents[2]
    values = asdict(settings)
    chosen = {key: values[key] for key in ("seed", "text_clips", "text_only", *PARTS[name].settings)}
    sources = ("runners/shapes/descent.py", "runners/shapes/text.py", *PARTS[name].sources, *_DRAWN_BY)
    return content_key(name, chosen, [file_key(package / source) for source in sources])


def report_path(folder: Path, name: str) -> Path:
    """Where a part's report stands."""
    return folder / f"{name}.report.json"


def _found(folder: Path, name: str, settings: BaseSettings) -> dict[str, Any] | None:
    path = report_path(folder, name)
    if not path.is_file():
        return None
    report = json.loads(path.read_text(encoding="utf-8"))
    if report.get("key") == part_key(name, settings):
        return report | {"made": False}
    _log.info("%s was made by other settings or other code: it is made anew", folder / name)
    return None


def _make(name: str, folder: Path, settings: BaseSettings, line: int, progress: bool) -> dict[str, Any]:
    part, path = PARTS[name], report_path(folder, name)
    path.unlink(missing_ok=True)
    start = time.monotonic()
    with _bar(name, part.steps(settings), line, progress) as on_step, _drawn_alike(name, settings.seed):
        measured = part.make(settings, folder, on_step)
    report = {"key": part_key(name, settings), "seconds": round(time.monotonic() - start, 1), **measured}
    write_json(path, report)
    return report | {"made": True}


@contextmanager
def _drawn_alike(name: str, seed: int) -> Iterator[None]:
    """Inside, what a library draws by itself (heads that are thrown away, biases) is the same in every making.

    One thread: models this small gain nothing from a second, and beside other work it made a step thirty times slower.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng([]):
            torch.manual_seed(draw_seed(seed, 0, name, "shapes bases"))
            yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _bar(name: str, steps: int, line: int, shown: bool) -> Iterator[OnStep]:
    from tqdm import tqdm

    # A log file gets a line now and then, not one per step.
    with tqdm(total=steps, desc=name, unit="step", position=line, mininterval=1.0, disable=not shown) as bar:

        def on_step(step: int, loss: float) -> None:
            bar.total = max(bar.total, bar.n + 1)
            bar.update()
            if step % 20 == 0:
                bar.set_postfix(loss=f"{loss:.2f}", refresh=False)

        yield on_step
