"""Caption metrics as the COCO caption toolkit computes them: BLEU-1 to -4, METEOR, ROUGE-L, CIDEr.

Sources: Papineni et al. 2002 (BLEU), Lin 2004 (ROUGE-L), Vedantam et al. 2015 (CIDEr-D without its stemming), in the
toolkit's variants (pycocoevalcap, arXiv 1504.00325); equal to it on the same tokens. [caption_metrics]
CIDEr weighs words by how rare they are among the references that are scored, so a part of a split has its own scale.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vidalign.common.errors import DataError
from vidalign.common.record import Record
from vidalign.common.sample import DatasetInfo, Sample
from vidalign.scoring.intervals import bootstrap_mean
from vidalign.scoring.match import exactly_one_each
from vidalign.scoring.meteor import meteor
from vidalign.scoring.ptb import tokenize

MAX_N = 4
_SMALL, _TINY = 1e-9, 1e-15
_ROUGE_BETA, _CIDER_SIGMA = 1.2, 6.0
METEOR_OFF = "METEOR is switched off (task.meteor)"
SPICE_LEFT_OUT = "SPICE is not computed: it needs a scene-graph parser that the toolkit downloads when it runs"

_NGrams = Counter[tuple[str, ...]]


@dataclass(frozen=True)
class CaptionScores:
    """Corpus scores as fractions (CIDEr is on its own scale, published times 100), and those of each caption by id.

    `meteor` is None where it could not be computed; `left_out` says why, one sentence per metric.
    """

    bleu: tuple[float, ...]
    rouge_l: float
    cider: float
    meteor: float | None
    rouge_l_each: dict[str, float]
    cider_each: dict[str, float]
    references: dict[str, list[str]]
    hypotheses: dict[str, list[str]]
    left_out: tuple[str, ...]


def caption_scores(
    references: Mapping[str, Sequence[str]],
    hypotheses: Mapping[str, str],
    *,
    with_meteor: bool = True,
    meteor_jar: str | None = None,
) -> CaptionScores:
    """Raw captions by id -> tokens and scores. Every id needs one hypothesis (may be empty) and references.

    For `meteor_jar` see `find_meteor`. DataError where ids differ or an id has no reference.
    """
    if references.keys() != hypotheses.keys():
        odd = sorted(references.keys() ^ hypotheses.keys())
        raise DataError(f"captions: {len(odd)} ids have references or a caption but not both, e.g. {odd[0]!r}")
    bare = next((name for name, texts in references.items() if not texts), None)
    if bare is not None or not references:
        raise DataError(f"captions: {bare!r} has no reference caption" if references else "captions: nothing to score")
    split_refs = _tokenized(references)
    split_hyps = _tokenized({name: [hypotheses[name]] for name in references})
    pairs = [(split_hyps[name][0], split_refs[name]) for name in references]
    rouge, cider = [rouge_l(*pair) for pair in pairs], cider_each(pairs)
    meteor_score, why = meteor(pairs, jar=meteor_jar) if with_meteor else (None, METEOR_OFF)
    return CaptionScores(
        bleu=bleu(pairs),
        rouge_l=_mean(rouge),
        cider=_mean(cider),
        meteor=meteor_score,
        rouge_l_each=dict(zip(references, rouge, strict=True)),
        cider_each=dict(zip(references, cider, strict=True)),
        references=split_refs,
        hypotheses=split_hyps,
        left_out=(SPICE_LEFT_OUT,) if why is None else (why, SPICE_LEFT_OUT),
    )


def caption_metrics(
    records: Sequence[Record],
    samples: Sequence[Sample],
    info: DatasetInfo,
    *,
    with_meteor: bool = True,
    meteor_jar: str | None = None,
) -> dict[str, float | int | str]:
    """Metrics of one split: cider, bleu_1 .. bleu_4, meteor, rouge_l, samples, scored, failed, empty, left_out.

    cider_low and cider_high are 95 % limits over videos, with the word weights of the whole split. A failed record
    counts as an empty caption; a Sample without reference captions is not scored.
    """
    by_uid = exactly_one_each(records, samples)
    scored = [sample for sample in samples if sample.answers]
    failed = sum(record.status != "ok" for record in by_uid.values())
    empty = sum(not (record.pred_text or "").strip() for record in by_uid.values() if record.status == "ok")
    counts = {"samples": len(samples), "scored": len(scored), "failed": failed, "empty": empty}
    if not scored:
        return counts
    said = {one.uid: (by_uid[one.uid].pred_text or "") if by_uid[one.uid].status == "ok" else "" for one in scored}
    scores = caption_scores(
        {one.uid: one.answers for one in scored}, said, with_meteor=with_meteor, meteor_jar=meteor_jar
    )
    low, high = bootstrap_mean(list(scores.cider_each.values()))
    metrics: dict[str, float | int | str] = {"cider": scores.cider, "cider_low": low, "cider_high": high}
    metrics |= {f"bleu_{n}": value for n, value in enumerate(scores.bleu, start=1)}
    if scores.meteor is not None:
        metrics["meteor"] = scores.meteor
    return metrics | {"rouge_l": scores.rouge_l, **counts, "left_out": "; ".join(scores.left_out)}


def bleu(pairs: Sequence[tuple[str, Sequence[str]]]) -> tuple[float, ...]:
    """(hypothesis, references) of a corpus -> BLEU-1 .. BLEU-4; the closest reference length counts."""
    right, tried = [0] * MAX_N, [0] * MAX_N
    length = reference_length = 0
    for hypothesis, references in pairs:
        words, counts = len(hypothesis.split()), _ngrams(hypothesis)
        most: _NGrams = Counter()
        for reference in references:
            most |= _ngrams(reference)
        for ngram, count in counts.items():
            right[len(ngram) - 1] += min(count, most[ngram])
        for n in range(MAX_N):
            tried[n] += max(0, words - n)
        length += words
        reference_length += min((abs(len(one.split()) - words), len(one.split())) for one in references)[1]
    ratio = (length + _TINY) / (reference_length + _SMALL)
    penalty = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    product, scores = 1.0, []
    for n in range(MAX_N):
        product *= (right[n] + _TINY) / (tried[n] + _SMALL)
        scores.append(product ** (1 / (n + 1)) * penalty)
    return tuple(scores)


def rouge_l(hypothesis: str, references: Sequence[str]) -> float:
    """Longest common subsequence as an F measure; best precision and best recall over the references.

    Kept: an empty caption has one word, the empty one, which agrees with an empty reference.
    """
    said = hypothesis.split(" ")
    common = [(_common(said, reference.split(" ")), len(reference.split(" "))) for reference in references]
    precision = max(length / len(said) for length, _ in common)
    recall = max(length / size for length, size in common)
    if not precision or not recall:
        return 0.0
    squared = _ROUGE_BETA**2
    return (1 + squared) * precision * recall / (recall + squared * precision)


def cider_each(pairs: Sequence[tuple[str, Sequence[str]]]) -> list[float]:
    """(hypothesis, references) of a corpus -> CIDEr of each, 0 .. 10; a corpus of one has only zeros."""
    counted = [(_ngrams(hypothesis), [_ngrams(one) for one in references]) for hypothesis, references in pairs]
    # In how many of the corpus's reference sets an n-gram occurs.
    spread = Counter(ngram for _, references in counted for ngram in set().union(*references))
    corpus = math.log(len(pairs))
    weights = {ngram: corpus - math.log(count) for ngram, count in spread.items()}
    scores = []
    for hypothesis, references in counted:
        said = _Vector(hypothesis, weights, corpus)
        similar = [_similarity(said, _Vector(one, weights, corpus)) for one in references]
        scores.append(10.0 * _mean(similar))
    return scores


class _Vector:
    """tf-idf of a caption's n-grams, their norm per n, and the caption's number of word pairs."""

    def __init__(self, counts: _NGrams, weights: Mapping[tuple[str, ...], float], unseen: float) -> None:
        self.values = {ngram: count * weights.get(ngram, unseen) for ngram, count in counts.items()}
        squares = [0.0] * MAX_N
        for ngram, value in self.values.items():
            squares[len(ngram) - 1] += value * value
        self.norms = [math.sqrt(square) for square in squares]
        # Kept: the toolkit takes the number of bigrams for the length.
        self.length = sum(count for ngram, count in counts.items() if len(ngram) == 2)


def _similarity(said: _Vector, reference: _Vector) -> float:
    """Mean over n of the clipped cosine, times the penalty for another length."""
    sums = [0.0] * MAX_N
    for ngram, value in said.values.items():
        other = reference.values.get(ngram, 0.0)
        sums[len(ngram) - 1] += min(value, other) * other
    norms = [mine * other for mine, other in zip(said.norms, reference.norms, strict=True)]
    cosines = [total / norm if norm else total for total, norm in zip(sums, norms, strict=True)]
    difference = said.length - reference.length
    return _mean(cosines) * math.exp(-(difference**2) / (2 * _CIDER_SIGMA**2))


def _ngrams(text: str) -> _NGrams:
    words = text.split()
    return Counter(tuple(words[i : i + n]) for n in range(1, MAX_N + 1) for i in range(len(words) - n + 1))


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(second) + 1)
    for word in first:
        diagonal = 0
        for j, other in enumerate(second, start=1):
            above = row[j]
            row[j] = diagonal + 1 if word == other else max(above, row[j - 1])
            diagonal = above
    return row[-1]


def _tokenized(captions: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """All captions in one go, as the toolkit does it: what ends an abbreviation may stand in the next caption."""
    texts = iter(tokenize([text for texts in captions.values() for text in texts]))
    return {name: [next(texts) for _ in own] for name, own in captions.items()}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
