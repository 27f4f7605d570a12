"""Retrieval between texts and videos from their embeddings: recalls, median and mean rank, with a stated rule for ties.

Legend: N texts, K videos, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RECALLS = (1, 5, 10, 50)
TIE_RULES = ("official", "strict")


@dataclass(frozen=True)
class Ranks:
    """For every query how many candidates score higher than the right one (`above`), and how many as high (`equal`,
    itself included)."""

    above: np.ndarray
    equal: np.ndarray

    def positions(self, ties: str) -> np.ndarray:
        """0-based ranks. "official": every place among equals counts, so that a query with ties gives several ranks
        (LF-VILA, MMT; specification lf_vila, section 6); "strict": the right one stands behind all its equals."""
        assert ties in TIE_RULES, f"tie rule {ties!r}"
        if ties == "strict":
            return self.above + self.equal - 1
        starts = np.repeat(self.above, self.equal)
        within = np.arange(len(starts)) - np.repeat(np.cumsum(self.equal) - self.equal, self.equal)
        return starts + within


def ranks_of(scores: np.ndarray, right: Sequence[int] | np.ndarray) -> Ranks:
    """scores: (queries, candidates); right: the right candidate of each query."""
    own = scores[np.arange(len(scores)), np.asarray(right)][:, None]
    return Ranks((scores > own).sum(axis=1), (scores == own).sum(axis=1))


def join_ranks(blocks: Sequence[Ranks]) -> Ranks:
    """Blocks of queries as one."""
    return Ranks(np.concatenate([one.above for one in blocks]), np.concatenate([one.equal for one in blocks]))


def rank_metrics(ranks: Ranks, *, ties: str = "official") -> dict[str, float]:
    """R@1, R@5, R@10, R@50 (shares), MedR, MeanR (1 is best)."""
    positions = ranks.positions(ties)
    metrics = {f"R@{k}": float((positions < k).mean()) for k in RECALLS}
    return metrics | {"MedR": float(np.median(positions)) + 1.0, "MeanR": float(positions.mean()) + 1.0}


def both_directions(
    text_ND: np.ndarray,
    video_KD: np.ndarray,
    right_N: np.ndarray,
    *,
    failed_N: np.ndarray | None = None,
    ties: str = "official",
    block: int = 1024,
) -> dict[str, float]:
    """Text to video as R@1 ..., video to text as v2t_R@1 ...; `ties` names the share of texts that have one.

    right_N: each text's video. A video with several texts is found where its best text stands. failed_N: texts whose
    video could not be read; they rank last, and such videos are no candidates for others and ask for nothing. The
    similarity is computed for `block` queries at a time.
    """
    failed = np.zeros(len(right_N), bool) if failed_N is None else failed_N
    usable = np.ones(len(video_KD), bool)
    usable[right_N[failed]] = False
    blocks = []
    for start in range(0, len(text_ND), block):
        rows = slice(start, start + block)
        scores = np.where(usable, similarity(text_ND[rows], video_KD), -np.inf)
        found = ranks_of(scores, right_N[rows])
        lost = failed[rows]
        last = len(video_KD) - 1
        blocks.append(Ranks(np.where(lost, last, found.above), np.where(lost, 1, found.equal)))
    texts = join_ranks(blocks)
    metrics = rank_metrics(texts, ties=ties)
    metrics["ties"] = float((texts.equal > 1).mean())
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
    """(B,) share of each sample's M clips whose nearest of its own sentences is theirs."""
    scores_BMM = clips_BMD @ sentences_BMD.transpose(0, 2, 1)
    return (scores_BMM.argmax(axis=2) == np.arange(scores_BMM.shape[1])).mean(axis=1)


def similarity(text_ND: np.ndarray, video_KD: np.ndarray) -> np.ndarray:
    """(N, K) dot products; of embeddings of length 1, cosines."""
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
        lost = ~usable_K[numbers]
        last = len(text_ND) - 1
        blocks.append(Ranks(np.where(lost, last, found.above), np.where(lost, 1, found.equal)))
    return join_ranks(blocks)
