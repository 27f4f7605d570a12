"""Records and samples belong together one to one; every metric starts here."""

from __future__ import annotations

from collections.abc import Sequence

from vidalign.common.errors import DataError
from vidalign.common.record import Record, finite_or_failed
from vidalign.common.sample import Sample


def exactly_one_each(records: Sequence[Record], samples: Sequence[Sample]) -> dict[str, Record]:
    """uid -> record, one with NaN as failed; raises DataError naming missing, repeated and surplus uids."""
    wanted = {sample.uid for sample in samples}
    by_uid: dict[str, Record] = {}
    repeated = []
    for record in records:
        if record.uid in by_uid:
            repeated.append(record.uid)
        by_uid[record.uid] = finite_or_failed(record)
    found = (("missing", wanted - by_uid.keys()), ("surplus", by_uid.keys() - wanted), ("repeated", set(repeated)))
    problems = [f"{len(uids)} {what} ({', '.join(sorted(uids)[:3])} ...)" for what, uids in found if uids]
    if problems:
        raise DataError(f"predictions do not match the {len(wanted)} samples: {'; '.join(problems)}")
    return by_uid
