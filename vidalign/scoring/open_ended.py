"""Open-ended answers against reference answers, without a judge: equal, or contained.

Both are normalised first: lower case, no punctuation, no articles (the usual rule of question answering, SQuAD,
arXiv 1606.05250). What a judge says of the same records is in judge.py.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence

from vidalign.common.record import Record
from vidalign.common.sample import DatasetInfo, Sample
from vidalign.scoring.intervals import wilson
from vidalign.scoring.match import exactly_one_each
from vidalign.scoring.multiple_choice import Tally, group_tallies, shares_by_part

_ARTICLES = frozenset(("a", "an", "the"))
_MARKS = re.compile(r"[^\w\s'-]|(?<!\w)['-]|['-](?!\w)|_")


def normalized(text: str) -> tuple[str, ...]:
    """The words that count: "It's a T-shirt." -> ("it's", "t-shirt")."""
    return tuple(word for word in _MARKS.sub(" ", text.lower()).split() if word not in _ARTICLES)


def exactly(said: str, answer: str) -> bool:
    """Whether both say the same words; an answer without words is never met."""
    return bool(normalized(answer)) and normalized(said) == normalized(answer)


def contained(said: str, answer: str) -> bool:
    """Whether the words of the answer follow one another somewhere in what was said."""
    words, wanted = normalized(said), normalized(answer)
    return bool(wanted) and any(words[i : i + len(wanted)] == wanted for i in range(len(words) - len(wanted) + 1))


MATCHES: dict[str, Callable[[str, str], bool]] = {"exact_match": exactly, "contained_match": contained}


def accepted_answers(sample: Sample) -> tuple[str, ...]:
    """Every reference answer of a Sample; none where they are hidden."""
    return sample.answers or (() if sample.answer is None else (sample.answer,))


def open_ended_metrics(
    records: Sequence[Record], samples: Sequence[Sample], info: DatasetInfo
) -> dict[str, float | int]:
    """Metrics of one split: exact_match and contained_match with 95 % limits (_low, _high), per type and group.

    One of several reference answers is enough. A failed record is wrong; `empty` counts usable records that say
    nothing; a Sample without a known answer is not scored.
    """
    by_uid = exactly_one_each(records, samples)
    scored = [sample for sample in samples if accepted_answers(sample)]
    metrics: dict[str, float | int] = {}
    for name, match in MATCHES.items():
        metrics |= _shares(name, [(one, _meets(by_uid[one.uid], one, match)) for one in scored], info)
    usable = [record for record in by_uid.values() if record.status == "ok"]
    return metrics | {
        "samples": len(samples),
        "scored": len(scored),
        "failed": len(by_uid) - len(usable),
        "empty": sum(not (record.pred_text or "").strip() for record in usable),
    }


def _meets(record: Record, sample: Sample, match: Callable[[str, str], bool]) -> bool:
    said = record.pred_text or ""
    return record.status == "ok" and any(match(said, answer) for answer in accepted_answers(sample))


def _shares(name: str, verdicts: Sequence[tuple[Sample, bool]], info: DatasetInfo) -> dict[str, float | int]:
    if not verdicts:
        return {}
    overall, types = Tally(), defaultdict(Tally)
    for sample, right in verdicts:
        overall.add(right)
        if sample.qtype is not None:
            types[sample.qtype].add(right)
    low, high = wilson(overall.correct, overall.total)
    shares: dict[str, float | int] = {name: overall.share, f"{name}_low": low, f"{name}_high": high}
    return shares | shares_by_part(name, types, group_tallies(types, info.groups))
