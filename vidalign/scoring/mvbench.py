"""MVBench answers as TOPA's demo (arXiv 2405.13911) counts them after VideoChat2 (arXiv 2311.17005), and strictly."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from vidalign.common.record import Record
from vidalign.common.sample import DatasetInfo, Sample
from vidalign.scoring.intervals import wilson
from vidalign.scoring.match import exactly_one_each
from vidalign.scoring.multiple_choice import Tally, multiple_choice_metrics
from vidalign.scoring.part_names import by_part

_LETTER = re.compile(r"\s*\(?([A-Za-z])(?![A-Za-z'])[).:]?")


def true_option(candidates: Sequence[str], answer: str) -> int:
    """Index of the answer's text. Kept: of repeated candidates the last one counts. [small_functions]"""
    return max(index for index, candidate in enumerate(candidates) if candidate == answer)


def loosely_right(prediction: str, truth: str) -> bool:
    """`truth` is "(B) text". The prediction's first word must be part of "(b)", or contain it.

    Kept: so an empty prediction and a lone "(" count as right. [small_functions]
    """
    said = prediction.lower().split(" ")[0]
    option = truth.lower().split(" ")[0]
    return said.replace(".", "") in option or option in said


def chosen_option(prediction: str, candidates: Sequence[str]) -> int | None:
    """The one option that a text names: by its letter at the begin, else by being its text; None where it is unclear.

    "(B)", "B.", "b) a man" name the second option; "a man" does not name the first: there "a" is a word.
    """
    said = prediction.strip()
    if (found := _LETTER.match(said)) is not None:
        index = ord(found[1].upper()) - ord("A")
        # A bare letter before further words is a word ("a man"), unless it has a bracket or a mark.
        alone = found[0].strip() != found[1] or not said[found.end() :].strip()
        if alone and index < len(candidates):
            return index
    whole = [index for index, text in enumerate(candidates) if _plain(text) == _plain(said)]
    return whole[0] if _plain(said) and len(whole) == 1 else None


def mvbench_metrics(records: Sequence[Record], samples: Sequence[Sample], info: DatasetInfo) -> dict[str, float | int]:
    """Per task and over all questions: accuracy (the official matching) and accuracy_strict (the option it names).

    `accuracy` is the mean over all questions, as in TOPA's demo; every task has as many, so it is the mean over tasks
    of the complete benchmark (`accuracy_macro`). A failed record is wrong in both; `unclear` counts usable records that
    name no option.
    """
    by_uid = exactly_one_each(records, samples)
    scored = [sample for sample in samples if sample.answer_idx is not None]
    loose, strict = {}, {}
    unclear = 0
    for sample in scored:
        record, text = by_uid[sample.uid], by_uid[sample.uid].pred_text or ""
        usable, named = record.status == "ok", chosen_option(text, sample.options)
        unclear += usable and named is None
        truth = f"({chr(ord('A') + sample.answer_idx)}) {sample.options[sample.answer_idx]}"
        for tallies, right in ((loose, loosely_right(text, truth)), (strict, named == sample.answer_idx)):
            tallies.setdefault(sample.qtype or "", Tally()).add(usable and right)
    metrics: dict[str, float | int] = {}
    if scored:
        by_name = _shares("accuracy_strict", strict)
        metrics |= _shares("accuracy", loose, taken=by_name) | by_name
    failed = sum(record.status != "ok" for record in by_uid.values())
    return metrics | {"samples": len(samples), "scored": len(scored), "unclear": unclear, "failed": failed}


def either_metrics(records: Sequence[Record], samples: Sequence[Sample], info: DatasetInfo) -> dict[str, float | int]:
    """`mvbench_metrics` of records that say something, else those of multiple choice by scores."""
    said = any(record.pred_text is not None for record in records)
    return (mvbench_metrics if said else multiple_choice_metrics)(records, samples, info)


def _shares(name: str, tallies: dict[str, Tally], *, taken: Collection[str] = ()) -> dict[str, float | int]:
    correct, total = sum(one.correct for one in tallies.values()), sum(one.total for one in tallies.values())
    low, high = wilson(correct, total)
    shares: dict[str, float | int] = {name: correct / total, f"{name}_low": low, f"{name}_high": high}
    shares[f"{name}_macro"] = sum(one.share for one in tallies.values()) / len(tallies)
    tasks = {task: tallies[task].share for task in sorted(tallies) if task}
    return shares | by_part(name, tasks, kind="type", taken=taken)


def _plain(text: str) -> str:
    return " ".join(text.lower().replace(".", " ").split())
