"""Annotation files -> Samples outside a run: `vidalign data`, `vidalign score`, data_prep. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidalign.common.errors import ConfigError, DataError, unknown
from vidalign.common.sample import Sample
from vidalign.config.check import checked_block
from vidalign.config.merge import Tree, of_options
from vidalign.config.problems import COMMAND_LINE, Problem
from vidalign.data.check import findings
from vidalign.data.sets.base import AnnotationBuilder
from vidalign.data.sets.files import FoundFile
from vidalign.registry import DATASETS

# Other names under which benchmarks are known, besides spellings with other dashes and capitals.
_ALIASES = {
    **{"nextqamc": "nextqa", "nextoe": "nextqa_oe", "anothermissoh": "dramaqa", "missqa": "dramaqa"},
    **{"msvd": "msvd_qa", "msrvttcaptions": "msrvtt", "msrvttretrieval": "msrvtt", "anetqa": "activitynet_qa"},
    **{"anetcaptions": "activitynet_captions", "cmd": "condensed_movies", "hdvila": "lfvila8m"},
    **{"valley702k": "valley", "videochatgpt100k": "videochatgpt_tune", "webvid25m": "webvid", "qvh": "qvhighlights"},
}


@dataclass(frozen=True)
class ReadSplit:
    """One split as read: its file, its builder, its Samples."""

    found: FoundFile
    builder: AnnotationBuilder
    samples: list[Sample]


def dataset_name(name: str) -> str:
    """The registered name for `name`, whatever its dashes and capitals; ConfigError with the nearest one otherwise."""
    if name in DATASETS:
        return name
    plain = {re.sub(r"[^a-z0-9]", "", one.lower()): one for one in DATASETS} | _ALIASES
    found = plain.get(re.sub(r"[^a-z0-9]", "", name.lower()))
    if found is None or found not in DATASETS:
        raise ConfigError(unknown("dataset", name, DATASETS))
    return found


def read_annotations(
    place: Path | str, *, dataset: str, split: str | None = None, settings: Mapping[str, Any] | None = None
) -> Iterator[ReadSplit]:
    """Every split that a file or folder holds, one after the other; DataError when there is none.

    settings: values of the dataset's config, e.g. {"official_order": True}.
    """
    place, name, settings = Path(place), dataset_name(dataset), dict(settings or {})
    cls = DATASETS.load(name)
    if not issubclass(cls, AnnotationBuilder):
        raise ConfigError(f"dataset {name!r} has no annotation files: {DATASETS.entry(name).summary}")
    _config(name, settings, root=place, given_by=COMMAND_LINE)  # a wrong setting must not look like a missing file
    if not place.exists():
        raise DataError(f"{place} does not exist")
    found = [one for one in cls.find(place, split) if all(settings.get(k, v) == v for k, v in one.settings.items())]
    if not found:
        wanted = f" of split {split!r}" if split else ""
        known = ", ".join(cls.patterns)
        where = "beside it" if place.is_file() else "in it"
        raise DataError(f"{place}: no annotation file of {name}{wanted} {where}; looked for {known} (or give the file)")
    for one in found:
        builder = cls(_config(name, {**one.settings, **settings}, root=one.root, given_by=str(one.path)))
        if one.path.is_file() and (one.pattern or place.is_file()):
            builder.use(one)
        yield ReadSplit(one, builder, builder.samples(one.split))


def parse_settings(given: Sequence[str], dataset: str) -> dict[str, Any]:
    """KEY=VALUE texts -> values of the dataset's config, converted and checked as a config's are; ConfigError."""
    tree = of_options(given)
    names = list(tree.values)
    config = _checked(dataset_name(dataset), tree, root=".")
    return {name: getattr(config, name) for name in names}


def table(read: Sequence[ReadSplit], *, media: bool = False) -> str:
    """What was read, for people: one line per split, then what is odd about its rows.

    media: look for the video files as well.
    """
    lines = [f"{'split':<24}{'samples':>9}{'published':>11}{'videos':>8}{'labelled':>10}  file"]
    for one in read:
        samples = one.samples
        videos = len({sample.media.video_id for sample in samples if sample.media})
        labelled = sum(_labelled(sample) for sample in samples)
        name = "/".join([*one.found.settings.values(), one.found.split])
        published = one.builder.expected_count(one.found.split)
        counts = f"{len(samples):>9}{published if published is not None else '-':>11}{videos:>8}{labelled:>10}"
        lines.append(f"{name:<24}{counts}  {one.found.path}")
        root = one.builder.media_root if media else None
        for what, uids in findings(samples, media_root=root).items():
            lines.append(f"    {len(uids):>6} {what}: {', '.join(uids[:2])}{' ...' if len(uids) > 2 else ''}")
        lines += [f"    left out: {text}" for text in one.builder.left_out[:5]]
        if len(one.builder.left_out) > 5:
            lines.append(f"    left out: {len(one.builder.left_out) - 5} more")
    return "\n".join(lines)


def _config(name: str, settings: Mapping[str, Any], *, root: Path, given_by: str) -> Any:
    return _checked(name, Tree(Path(given_by), values=dict(settings), places={"": given_by}), root=str(root))


def _checked(name: str, tree: Tree, *, root: str) -> Any:
    """The config of dataset `name` with the values of `tree`. ConfigError with every mistake."""
    if "root" in tree.values:
        tree.problems.append(Problem(tree.place("root"), "root", "the folder of the file that is read. Remove it."))
    tree.values["root"] = root
    return checked_block(DATASETS.config(name), tree)


def _labelled(sample: Sample) -> bool:
    values = (sample.answer_idx, sample.answer, sample.label)
    return any(value is not None for value in values) or bool(sample.answers or sample.windows or sample.texts)
