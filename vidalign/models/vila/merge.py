"""Two checkpoints into the start of the next stage: a teacher into a student, a localizer into an answerer.

Specification vila, section 8 (official `re_weight.py`, and SeViLA's merge in `test.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from vidalign.common.errors import CheckpointError

T = TypeVar("T")
TEACHER_PARTS = ("Qformer", "query_tokens", "t5_proj")


def merge_teacher(student: Mapping[str, T], teacher: Mapping[str, T]) -> tuple[dict[str, T], list[str]]:
    """The student's weights, and under `..._T` the teacher's of the same parts; also one line per renamed tensor.

    `fs` and `dist_fc_bn` are in neither file and start at random; `ln_vision` is the student's. CheckpointError when
    the teacher lacks a part. [re_weight]
    """
    merged, report, lacking = dict(student), [], []
    for name in student:
        part = next((part for part in TEACHER_PARTS if part in name), None)
        if part is None:
            continue
        if name not in teacher:
            lacking.append(name)
            continue
        new = name.replace(part, f"{part}_T")
        merged[new] = teacher[name]
        report.append(f"{name} of the teacher -> {new}")
    if lacking:
        raise CheckpointError("the teacher's file lacks parts of the student's:\n  " + "\n  ".join(lacking))
    if not report:
        raise CheckpointError(f"the student's file has none of {', '.join(TEACHER_PARTS)}; is it a checkpoint of ViLA?")
    return merged, report


def is_localizer(name: str) -> bool:
    """Whether a tensor belongs to the localizer.

    Changed: the official merge looks for "loc" anywhere, which "blocks" has too; its files hold no blocks.
    """
    return name.split(".")[0].endswith("_loc")


def merge_localizer(answerer: Mapping[str, T], localizer: Mapping[str, T]) -> tuple[dict[str, T], list[str]]:
    """The answerer's weights, and the other file's localizer; one line per tensor.

    A localizer trained alone on QVHighlights cannot answer: used directly its accuracy collapses (spec vila, 11).
    """
    found = {name: value for name, value in localizer.items() if is_localizer(name)}
    if not found:
        raise CheckpointError("the localizer's file has no names with _loc; is it a localizer of SeViLA?")
    report = [f"{name} from the localizer{', replaced' if name in answerer else ''}" for name in found]
    return {**answerer, **found}, report
