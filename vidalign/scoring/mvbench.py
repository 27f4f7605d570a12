"""MVBench answers as TOPA's demo counts them (arXiv 2405.13911), after VideoChat2's (arXiv 2311.17005)."""

from __future__ import annotations

from collections.abc import Sequence


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
