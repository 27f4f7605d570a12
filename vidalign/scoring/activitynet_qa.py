"""ActivityNet-QA by exact match (Yu et al., AAAI 2019): per type, "free" (types 3 to 8), all.

Two numbers for "free": the true one, and that of the authors' script, which divides by another count.
Specification benchmarks, section 10.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vidalign.common.record import Record
from vidalign.common.sample import Sample
from vidalign.scoring.exact_match import exact_tallies
from vidalign.scoring.multiple_choice import Tally

TYPES = {
    "0": "Motion",
    "1": "Spatial Relation",
    "2": "Temporal Relation",
    "3": "Yes/No",
    "4": "Color",
    "5": "Object",
    "6": "Location",
    "7": "Number",
    "8": "Other",
}
FREE = ("3", "4", "5", "6", "7", "8")


def official_numbers(records: Sequence[Record], samples: Sequence[Sample]) -> dict[str, Any]:
    """Fractions: all_exact_match, per_type, n_per_type, free_correct_denominator, free_official_denominator, and what
    the authors' script prints (official_script_stdout).

    Kept: their script sums the counts of all types but the first three that occur in the file, so its "Free" is right
    only where those are the types 0, 1, 2.
    """
    types = exact_tallies(records, samples)
    free = Tally(sum(types[t].correct for t in FREE if t in types), sum(types[t].total for t in FREE if t in types))
    total = Tally(sum(t.correct for t in types.values()), sum(t.total for t in types.values()))
    divisor = sum(tally.total for tally in list(types.values())[3:])
    theirs = free.correct / divisor if divisor else None
    share = {name: types[name].share for name in sorted(types)}
    main = [*(share.get(name) for name in ("0", "1", "2")), theirs, total.share]
    names = (*(TYPES[name] for name in ("0", "1", "2")), "Free", "All")
    return {
        "all_exact_match": total.share,
        "per_type": share,
        "n_per_type": {name: types[name].total for name in sorted(types)},
        "free_correct_denominator": free.share,
        "free_official_denominator": theirs,
        "official_script_stdout": [
            "Accuracy (per question type):",
            *(f"\t{name}: {_shown(value)}" for name, value in zip(names, main, strict=True)),
            "Accuracy of the Free type questions(per answer type):",
            *(f"\t{TYPES[name]}: {_shown(share.get(name))}" for name in FREE),
        ],
    }


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"
