"""WUPS for open-ended NExT-QA: answers compared word by word through WordNet (Malinowski and Fritz, NIPS 2014).

Xiao et al., CVPR 2021 (arXiv 2105.08276): answers are lemmatised and lose their stop words, then the similarity of Wu
and Palmer (ACL 1994) between the first meanings of two words counts; per question type, at the thresholds 0 and 0.9.
WordNet is not shipped; `NEEDED` says what to get. Numbers depend on lemmas and stop words: those of nltk are used (the
authors have a list of their own), and the result names how the lemmas were found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from vidalign.common.errors import DataError
from vidalign.common.record import Record
from vidalign.common.sample import Sample
from vidalign.scoring.intervals import bootstrap_mean
from vidalign.scoring.match import exactly_one_each

Similarity = Callable[[str, str], float]
NEEDED = (
    "WUPS needs WordNet 3.0: `pip install nltk` (the extra `wups`), then `python -m nltk.downloader wordnet stopwords "
    "averaged_perceptron_tagger_eng`; on a machine without network fetch the three archives from "
    "https://www.nltk.org/nltk_data elsewhere, unpack them to corpora/wordnet, corpora/stopwords and "
    "taggers/averaged_perceptron_tagger_eng below one folder, and set NLTK_DATA to it"
)
BY_PART_OF_SPEECH, AS_NOUNS = (
    "by part of speech",
    "as nouns, since nltk's tagger averaged_perceptron_tagger_eng is missing",
)
GROUPS = {"C": ("CW", "CH"), "T": ("TN", "TC"), "D": ("DC", "DB", "DL", "DO")}
# Counts and yes/no answers are right or wrong; WordNet finds any two numbers alike.
EXACT_TYPES = ("DC", "DB")
THRESHOLDS = (0.0, 0.9)


# Words with their hyphens and apostrophes, and every other mark for itself.
_WORD = re.compile(r"\w+(?:[-']\w+)*|[^\w\s]")
# The first letter of a Penn tag -> WordNet's part of speech.
_PARTS = {"J": "a", "V": "v", "N": "n", "R": "r"}


@dataclass(frozen=True)
class Words:
    """What the score needs of a lexicon: the similarity of two words (0 to 1), the lemmas of a sentence's words and how
    they are found, and the words to leave out."""

    similarity: Similarity
    lemmas: Callable[[Sequence[str]], list[str]] = list
    stop: frozenset[str] = frozenset()
    how: str = BY_PART_OF_SPEECH


def wups(predicted: str, true: str, *, similarity: Similarity, threshold: float) -> float:
    """Score of two prepared answers: the lesser of both directions.

    Similarities below the threshold count a tenth. Kept: a word like no other is skipped instead of making the product
    0, unless no word is like any.
    """
    one, other = predicted.split(), true.split()
    return min(_directed(one, other, similarity, threshold), _directed(other, one, similarity, threshold))


def _directed(words: Sequence[str], others: Sequence[str], similarity: Similarity, threshold: float) -> float:
    product, found = 1.0, False
    for word in words:
        best = max((_weighed(word, other, similarity, threshold) for other in others), default=0.0)
        if best > 0:
            product, found = product * best, True
    return product if found else 0.0


def _weighed(word: str, other: str, similarity: Similarity, threshold: float) -> float:
    if word == other:
        return 1.0
    value = similarity(word, other)
    return value if value >= threshold else 0.1 * value


def prepare(text: str, words: Words) -> str:
    """Lemmas of an answer's words without stop words. Kept: an answer of stop words alone becomes empty.

    A word is left out when it or its lemma is a stop word: "was" as a noun would become "wa".
    """
    told = _WORD.findall(text.lower())
    lemmas = zip(told, words.lemmas(told), strict=True)
    return " ".join(lemma for word, lemma in lemmas if not {word, lemma} & words.stop)


def wups_scores(
    records: Sequence[Record], samples: Sequence[Sample], *, words: Words, threshold: float
) -> dict[str, list[float]]:
    """Question type -> scores of its samples, the best of a sample's references. TP is counted as TN."""
    by_uid = exactly_one_each(records, samples)
    found: dict[str, list[float]] = {}
    for sample in samples:
        references = [prepare(text, words) for text in sample.answers or filter(None, (sample.answer,))]
        if not references:
            continue
        record = by_uid[sample.uid]
        kind = "TN" if sample.qtype == "TP" else str(sample.qtype)
        predicted = prepare(record.pred_text or "", words) if record.status == "ok" else ""
        if kind in EXACT_TYPES:
            score = float(predicted in references and record.status == "ok")
        else:
            score = max(wups(predicted, true, similarity=words.similarity, threshold=threshold) for true in references)
        found.setdefault(kind, []).append(score)
    return found


def wups_numbers(records: Sequence[Record], samples: Sequence[Sample], *, words: Words) -> dict[str, Any]:
    """Percentages with two decimals under "WUPS@0" and "WUPS@0.9": every type, C, T, D, and all with its interval; and
    under "lemmas" how these were found."""
    numbers: dict[str, Any] = {"lemmas": words.how}
    for threshold in THRESHOLDS:
        scores = wups_scores(records, samples, words=words, threshold=threshold)
        groups = {name: [v for kind in kinds for v in scores.get(kind, ())] for name, kinds in GROUPS.items()}
        every = [value for values in scores.values() for value in values]
        parts: Mapping[str, list[float]] = {**dict(sorted(scores.items())), **groups, "all": every}
        low, high = bootstrap_mean(every)
        means = {name: _percent(values) for name, values in parts.items() if values}
        numbers[f"WUPS@{threshold:g}"] = means | {"all_low": round(100 * low, 2), "all_high": round(100 * high, 2)}
    return numbers


def official_numbers(records: Sequence[Record], samples: Sequence[Sample]) -> dict[str, Any]:
    """`wups_numbers` through WordNet; where it is missing, a note that says what to install."""
    try:
        return wups_numbers(records, samples, words=wordnet())
    except DataError as error:
        return {"note": str(error)}


@cache
def wordnet() -> Words:
    """WordNet through nltk; DataError where the package or its corpora are missing.

    # Kept: the first meaning of each word only, as the authors' script compares them.
    """
    try:
        from nltk import pos_tag
        from nltk.corpus import stopwords
        from nltk.corpus import wordnet as lexicon
        from nltk.stem import WordNetLemmatizer
    except ImportError as error:
        raise DataError(f"{NEEDED} (nltk is not installed)") from error
    try:
        stop = frozenset(stopwords.words("english"))
        lexicon.synsets("dog")
    except (LookupError, OSError) as error:  # OSError: a folder that holds only some of the files
        raise DataError(f"{NEEDED} ({str(error).strip().splitlines()[0].strip()})") from error
    lemmatizer = WordNetLemmatizer()

    @cache
    def similarity(one: str, other: str) -> float:
        first, second = lexicon.synsets(one), lexicon.synsets(other)
        return (first[0].wup_similarity(second[0]) or 0.0) if first and second else 0.0

    def by_part_of_speech(told: Sequence[str]) -> list[str]:
        return [lemmatizer.lemmatize(word, _PARTS.get(tag[:1], "n")) for word, tag in pos_tag(list(told))]

    def as_nouns(told: Sequence[str]) -> list[str]:
        return [lemmatizer.lemmatize(word) for word in told]

    try:
        by_part_of_speech(["dog"])
    except LookupError:
        return Words(similarity, as_nouns, stop, AS_NOUNS)
    return Words(similarity, by_part_of_speech, stop)


def _percent(values: Sequence[float]) -> float:
    return round(100 * sum(values) / len(values), 2)
