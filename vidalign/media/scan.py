"""`vidalign scan`: look at every video file of a folder once, in child processes with a time limit."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from vidalign.common.errors import DataError
from vidalign.common.paths import missing
from vidalign.media.examiner import Examiner
from vidalign.media.manifest import Entry, read_manifest, write_manifest
from vidalign.media.video import decoder_version, installed, require_decoder

_NAMES = "mp4 mkv webm avi mov m4v gif ts m2ts mts flv wmv mpg mpeg vob 3gp ogv ogg asf"
SUFFIXES = frozenset(f".{name}" for name in _NAMES.split())
SAVE_SECONDS = 20.0  # a scan that is killed loses no more than this
SHOWN = 20


@dataclass(frozen=True)
class ScanReport:
    """What a scan found: every entry of the folder, and how many files were looked at, taken over, or are gone."""

    entries: dict[str, Entry]
    examined: int
    unchanged: int
    gone: int


def scan(
    root: Path,
    *,
    manifest: Path,
    decoder: str = "decord",
    workers: int = 2,
    timeout_seconds: float = 30.0,
    fresh: bool = False,
    progress: bool = True,
) -> ScanReport:
    """Examine every video below `root` and write `manifest`; files that have not changed since are taken over.

    `fresh` examines all again. The manifest is saved, whole, every SAVE_SECONDS, so that a scan can be killed and
    continued. DataError when root is no folder or the manifest is of another folder; ConfigError without the decoder.
    """
    if text := missing(root, folder=True):
        raise DataError(f"{text} Give the folder of the videos.")
    require_decoder(decoder)
    version = decoder_version(decoder)
    before = {} if fresh or not manifest.exists() else _before(manifest, root)
    names = [path.relative_to(root).as_posix() for path in sorted(video_files(root))]
    entries = {name: before[name] for name in names if name in before and _still(before[name], root / name, version)}
    todo = [name for name in names if name not in entries]
    report = ScanReport(entries, len(todo), len(entries), len(before.keys() - set(names)))
    saved = time.monotonic()
    try:
        for entry in _bar(_examined(root, todo, decoder, workers, timeout_seconds), len(todo), progress):
            entries[entry.file] = entry
            if time.monotonic() - saved > SAVE_SECONDS:
                write_manifest(manifest, root, entries, decoder=version)
                saved = time.monotonic()
    finally:
        _save(manifest, root, entries, version)
    return report


def _save(manifest: Path, root: Path, entries: dict[str, Entry], version: str) -> None:
    try:
        write_manifest(manifest, root, entries, decoder=version)
    except OSError as error:
        raise DataError(
            f"{manifest} cannot be written: {error.strerror or error}. Name another place with --manifest, and tell "
            "the dataset (datasets.NAME.manifest)"
        ) from error


def _before(manifest: Path, root: Path) -> dict[str, Entry]:
    known = read_manifest(manifest)
    if known.root.resolve() != root.resolve():
        raise DataError(f"{manifest} describes {known.root}, not {root}; name another file with --manifest")
    return dict(known.entries)


def _still(entry: Entry, path: Path, version: str) -> bool:
    """True when nothing has to be looked at again. A bad file is: its permissions may have been mended, for one."""
    try:
        status = path.stat()
    except OSError:
        return False
    cheap = entry.status == "bad" and entry.first_frame is None  # told without a decoder
    return entry.decoder == version and entry.of_this(status.st_size, status.st_mtime_ns) and not cheap


def video_files(root: Path) -> Iterator[Path]:
    """Everything below `root` that is named like a video, folders and broken links too; links to folders are followed.

    Hidden files and folders are left out.
    """
    seen = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in (*folders, *files):
            if os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith("."):
                yield Path(folder, name)


def _examined(root: Path, names: list[str], decoder: str, workers: int, timeout_seconds: float) -> Iterator[Entry]:
    """Entries as they come. Every thread has its own child; at most two files per thread wait."""
    own, all_of_them = threading.local(), []

    def examine(name: str) -> Entry:
        if not hasattr(own, "examiner"):
            own.examiner = Examiner(decoder, timeout_seconds)
            all_of_them.append(own.examiner)
        return own.examiner.examine(root / name, name)

    pool = ThreadPoolExecutor(workers)
    running: set[Future[Entry]] = set()
    rest = iter(names)
    try:
        while True:
            running |= {pool.submit(examine, name) for name in islice(rest, 2 * workers - len(running))}
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            # A failure last: what else came is not lost.
            yield from (one.result() for one in sorted(done, key=lambda one: one.exception() is not None))
    finally:
        for examiner in all_of_them:
            examiner.kill()
        pool.shutdown(cancel_futures=True)
        for examiner in all_of_them:
            examiner.close()


def table(report: ScanReport) -> str:
    """Counts per problem, the files on which decoders disagree, and what was not looked at."""
    entries = report.entries.values()
    of = {status: [one for one in entries if one.status == status] for status in ("ok", "damaged", "bad")}
    lines = [
        f"{len(entries):,} files: {report.examined:,} examined, {report.unchanged:,} unchanged since the last scan"
        + (f", {report.gone:,} gone" if report.gone else ""),
        f"  {len(of['ok']):>6,}  usable",
        f"  {len(of['damaged']):>6,}  usable in part (the first or last frame cannot be decoded)",
        f"  {len(of['bad']):>6,}  unusable",
    ]
    lines += _by_kind("unusable", of["bad"])
    lines += _listed("usable in part", [(one.file, one.reason or "") for one in of["damaged"]])
    lines += _listed(
        "decoders disagree", [(one.file, "; ".join(one.decoders_differ)) for one in entries if one.decoders_differ]
    )
    lines += _listed("odd, but usable", [(one.file, "; ".join(one.warnings)) for one in entries if one.warnings])
    if not installed("pyav"):
        lines.append(
            "PyAV is not installed: codec, hidden frames, variable rate, rotation and the header's duration were not "
            "looked at; pip install av"
        )
    return "\n".join(lines)


def _by_kind(title: str, entries: list[Entry]) -> list[str]:
    """Reasons without the file's own name, most frequent first."""
    kinds = Counter((one.reason or "").replace(Path(one.file).name, "FILE") for one in entries)
    names = {kind: [] for kind in kinds}
    for one in entries:
        names[(one.reason or "").replace(Path(one.file).name, "FILE")].append(one.file)
    lines = [f"{title}:"] if kinds else []
    for kind, count in kinds.most_common(SHOWN):
        more = f" and {count - 4} more" if count > 4 else ""
        lines += [f"  {count:>6,}  {kind}", f"          {', '.join(names[kind][:4])}{more}"]
    return lines


def _listed(title: str, rows: list[tuple[str, str]]) -> list[str]:
    if not rows:
        return []
    lines = [f"{title}: {len(rows):,}", *(f"          {name}: {why}" for name, why in sorted(rows)[:SHOWN])]
    return [*lines, f"          ... and {len(rows) - SHOWN:,} more, see the manifest"] if len(rows) > SHOWN else lines


def _bar(items: Iterator[Entry], total: int, shown: bool) -> Iterator[Entry]:
    if not shown or not total:
        return items
    from tqdm import tqdm

    return iter(tqdm(items, total=total, unit="file", desc="scan"))
