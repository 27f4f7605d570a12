"""Retrieval between texts and videos from their embeddings: recalls, median and mean rank, with a stated rule for ties.

Legend: N texts, K videos, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vidalign.common.record import Record
from vidalign.common.sample import Sample, footage
from vidalign.scoring.intervals import wilson
from vidalign.scoring.match import exactly_one_each

RECALLS = (1, 5, 10, 50)
TIE_RULES = ("official", "index", "strict")


@dataclass(frozen=True)
class Ranks:
    """For every query how many candidates score higher than the right one (`above`), how many as high (`equal`, itself
    included), and how many of these stand before it (`before`)."""

    above: np.ndarray
    equal: np.ndarray
    before: np.ndarray

    def positions(self, ties: str) -> np.ndarray:
        """0-based ranks. "official": every place among equals counts, so that a query with ties gives several ranks
        (LF-VILA, MMT; specification lf_vila, section 6); "index": equals keep the order of the candidates
        (specification benchmarks, section 12); "strict": the right one stands behind all its equals."""
        assert ties in TIE_RULES, f"tie rule {ties!r}"
        if ties == "strict":
            return self.above + self.equal - 1
        if ties == "index":
            return self.above + self.before
        starts = np.repeat(self.above, self.equal)
        within = np.arange(len(starts)) - np.repeat(np.cumsum(self.equal) - self.equal, self.equal)
        return starts + within


def ranks_of(scores: np.ndarray, right: Sequence[int] | np.ndarray) -> Ranks:
    """scores: (queries, candidates); right: the right candidate of each query.

    It is last where its score is not finite: nothing compares as higher than NaN, which would make it the first.
    """
    places = np.asarray(right)[:, None]
    own = np.take_along_axis(scores, places, axis=1)
    equal = scores == own
    before = equal & (np.arange(scores.shape[1]) < places)
    found = Ranks((scores > own).sum(axis=1), equal.sum(axis=1), before.sum(axis=1))
    return _lost_last(found, ~np.isfinite(own[:, 0]), scores.shape[1] - 1)


def join_ranks(blocks: Sequence[Ranks]) -> Ranks:
    """Blocks of queries as one."""
    columns = ("above", "equal", "before")
    return Ranks(*(np.concatenate([getattr(one, name) for one in blocks]) for name in columns))


def rank_metrics(ranks: Ranks, *, ties: str = "official") -> dict[str, float]:
    """R@1, R@5, R@10, R@50 (shares), MedR, MeanR (1 is best)."""
    positions = ranks.positions(ties)
    metrics = {f"R@{k}": float((positions < k).mean()) for k in RECALLS}
    return metrics | {"MedR": float(np.median(positions)) + 1.0, "MeanR": float(positions.mean()) + 1.0}


def retrieval_metrics(
    tables: Mapping[str, np.ndarray],
    records: Sequence[Record],
    samples: Sequence[Sample],
    *,
    ties: str = "official",
    block: int = 1024,
) -> dict[str, float | int | str]:
    """`both_directions` of the samples' embeddings `text`, `video` and `right`.

    Texts whose video could not be read, for them or for the first text of that video, rank last, as do those of which
    an embedding is not finite. twin_choice where samples name a twin (meta twin: the whole video with the same moments
    in another order), clip_sentence_match where records tell the share (pred_value); failed ones, and failed twins,
    count as wrong in both.
    """
    by_uid, right = exactly_one_each(records, samples), tables["right"]
    # A record with an embedding row failed for its numbers, not for its video: that may be a candidate for other texts.
    unread = [by_uid[one.uid].status == "failed" and by_uid[one.uid].embedding_row is None for one in samples]
    seen = tables["video"].any(axis=1) & _finite_rows(tables["video"])
    failed = np.array(unread) | ~seen[right]
    metrics = both_directions(tables["text"], tables["video"], right, failed_N=failed, ties=ties, block=block)
    failed |= ~_finite_rows(tables["text"])
    row_of = {footage(sample): row for sample, row in zip(samples, right.tolist(), strict=True)}
    twins = np.array([row_of.get((sample.meta.get("twin"), None), -1) for sample in samples])
    if (twins >= 0).any():
        metrics["twin_choice"] = twin_choice(tables["text"], tables["video"], right, twins, failed | ~seen[twins])
    if any(record.pred_value is not None for record in records):
        metrics["clip_sentence_match"] = float(np.mean([record.pred_value or 0.0 for record in records]))
    return {**metrics, "tie_rule": ties, "samples": len(samples), "failed": int(failed.sum())}


def both_directions(
    text_ND: np.ndarray,
    video_KD: np.ndarray,
    right_N: np.ndarray,
    *,
    failed_N: np.ndarray | None = None,
    ties: str = "official",
    block: int = 1024,
) -> dict[str, float]:
    """Text to video as R@1 ... by the rule `ties`, video to text as v2t_R@1 ...; R@1 with its 95 % interval.

    `ties` in the result is the share of texts that have one; where there are any, the other rules' numbers stand beside
    as `<rule>_R@1` ....

    right_N: each text's video. A video with several texts is found where its best text stands. failed_N: texts whose
    video could not be read; they rank last, and such videos are no candidates for others and ask for nothing. So do
    videos whose embedding is not finite; texts of that kind rank last and are no candidates. The similarity is computed
    for `block` queries at a time.
    """
    unread = np.zeros(len(right_N), bool) if failed_N is None else failed_N
    usable = _finite_rows(video_KD)
    failed = unread | ~usable[right_N] | ~_finite_rows(text_ND)
    usable[right_N[unread]] = False
    blocks = []
    for start in range(0, len(text_ND), block):
        rows = slice(start, start + block)
        scores = np.where(usable, similarity(text_ND[rows], video_KD), -np.inf)
        found = ranks_of(scores, right_N[rows])
        lost = failed[rows]
        last = len(video_KD) - 1
        blocks.append(_lost_last(found, lost, last))
    texts = join_ranks(blocks)
    metrics = rank_metrics(texts, ties=ties)
    positions = texts.positions(ties)
    metrics["R@1_low"], metrics["R@1_high"] = wilson(int((positions < 1).sum()), len(positions))
    metrics["ties"] = float((texts.equal > 1).mean())
    for rule in TIE_RULES if metrics["ties"] else ():
        if rule != ties:
            metrics |= {f"{rule}_{name}": value for name, value in rank_metrics(texts, ties=rule).items()}
    videos = _best_texts(text_ND, video_KD, right_N, failed, usable, block)
    return metrics | {f"v2t_{name}": value for name, value in rank_metrics(videos, ties=ties).items()}


def twin_choice(
    text_ND: np.ndarray, video_KD: np.ndarray, right_N: np.ndarray, twin_N: np.ndarray, failed_N: np.ndarray
) -> float:
    """Share of the texts with a twin (twin_N >= 0: its video) that are nearer to their own video than to the twin's.

    Equal scores count as wrong, and texts whose video could not be read.
    """
    asked = twin_N >= 0
    own, other = (np.einsum("nd,nd->n", text_ND[asked], video_KD[video[asked]]) for video in (right_N, twin_N))
    return float(((own > other) & ~failed_N[asked]).mean())


def matched_share(clips_BMD: np.ndarray, sentences_BMD: np.ndarray) -> np.ndarray:
    """(B,) share of each sample's M clips whose nearest of its own sentences is theirs; a NaN is near to nothing."""
    scores_BMM = clips_BMD @ sentences_BMD.transpose(0, 2, 1)
    nearest_BM = scores_BMM.argmax(axis=2) == np.arange(scores_BMM.shape[1])
    return (nearest_BM & np.isfinite(scores_BMM).all(axis=2)).mean(axis=1)


def similarity(text_ND: np.ndarray, video_KD: np.ndarray) -> np.ndarray:
    """(N, K) dot products; of embeddings of length 1, cosines."""
    with np.errstate(over="ignore", invalid="ignore"):  # rows that are not finite rank last
        return text_ND @ video_KD.T


def _best_texts(
    text_ND: np.ndarray,
    video_KD: np.ndarray,
    right_N: np.ndarray,
    failed_N: np.ndarray,
    usable_K: np.ndarray,
    block: int,
) -> Ranks:
    """Video to text: of the ranks of a video's own texts the best; failed videos are last."""
    blocks = []
    for start in range(0, len(video_KD), block):
        numbers = np.arange(start, min(start + block, len(video_KD)))
        scores = similarity(video_KD[numbers], text_ND)
        scores[:, failed_N] = -np.inf
        own = np.where(right_N[None] == numbers[:, None], scores, -np.inf).argmax(axis=1)
        found = ranks_of(scores, own)
        lost = ~usable_K[numbers] | ~np.isin(numbers, right_N[~failed_N])
        last = len(text_ND) - 1
        blocks.append(_lost_last(found, lost, last))
    return join_ranks(blocks)


def _finite_rows(rows_ND: np.ndarray) -> np.ndarray:
    return np.isfinite(rows_ND).all(axis=1)


def _lost_last(found: Ranks, lost: np.ndarray, last: int) -> Ranks:
    """Lost queries (no video, no number) stand at the last place, without equals."""
    return Ranks(np.where(lost, last, found.above), np.where(lost, 1, found.equal), np.where(lost, 0, found.before))
