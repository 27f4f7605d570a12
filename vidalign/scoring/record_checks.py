"""Our own prediction records against their samples: what would count as wrong in silence is an error that says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vidalign.common.errors import DataError
from vidalign.common.record import Record
from vidalign.common.sample import Sample, native_id

# Sample.task -> what its metrics read of a usable record: of each group of fields one. Retrieval reads embeddings.
_CLASS = (("pred_idx",), ("answer_idx",))
_READ: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "mc_qa": (("pred_idx",),),
    "open_qa": (("pred_text",),),
    "caption": (("pred_text",),),
    "classification": _CLASS,
    "entailment": _CLASS,
    "regression": (("pred_value",),),
    "moment": (("windows", "saliency"),),
}


def answered_in_classes(records: Sequence[Record]) -> bool:
    """Whether open questions were answered by choosing a class (LF-VILA) instead of in words."""
    return any(one.pred_idx is not None for one in records) and not any(one.pred_text is not None for one in records)


def check_records(records: Sequence[Record], places: Sequence[str], samples: Sequence[Sample], *, dataset: str) -> None:
    """DataError at the first record that cannot be meant for its sample; places: where in which file each one stands.

    A failed record needs no prediction. Records of no sample at all are left to `exactly_one_each`.
    """
    own = {sample.uid: sample for sample in samples}
    natives = {native_id(uid): sample for uid, sample in own.items()}
    classes = answered_in_classes(records)
    letters = dataset == "mvbench" and any(record.pred_text is not None for record in records)
    for record, place in zip(records, places, strict=True):
        # A file read by itself may give its split another name.
        sample = own.get(record.uid) or natives.get(native_id(record.uid))
        if sample is None:
            continue
        read = _CLASS if classes and sample.task == "open_qa" else _READ.get(sample.task, ())
        if record.status == "ok":
            _check_prediction(record, sample, _READ["open_qa"] if letters else read, place)
        if sample.task == "mc_qa":
            _check_answer(record, sample, place, dataset)


def _check_prediction(record: Record, sample: Sample, read: Sequence[tuple[str, ...]], place: str) -> None:
    for fields in read:
        if all(getattr(record, name) is None for name in fields):
            raise DataError(
                f"{place}: {record.uid} has no {' or '.join(fields)}, which predictions of the task {sample.task} are "
                'scored by; add it, or write "status": "failed" with a "reason" (it then counts as wrong)'
            )
    last = len(sample.options) - 1
    if sample.task == "mc_qa" and record.pred_idx is not None and not 0 <= record.pred_idx <= last:
        raise DataError(
            f"{place}: {record.uid} has pred_idx {record.pred_idx}, its options are 0 to {last}; write the place of "
            "one of them"
        )


def _check_answer(record: Record, sample: Sample, place: str, dataset: str) -> None:
    if None in (record.answer_idx, sample.answer_idx) or record.answer_idx == sample.answer_idx:
        return
    remedy = "read the annotations that the predictions were made with, with the same settings of the dataset"
    if dataset == "how2qa":
        shuffled = "option_order" in sample.meta
        remedy += f" (e.g. {'add' if shuffled else 'leave out'} --options official_order=true)"
    raise DataError(
        f"{place}: {record.uid} says that option {record.answer_idx} is right, the annotations say "
        f"{sample.answer_idx}; {remedy}"
    )
