"""Retrieval: texts and videos are embedded once each, then compared in blocks, in both directions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from vidalign.common.errors import ConfigError
from vidalign.common.record import Record
from vidalign.scoring.embeddings import EmbeddingFile
from vidalign.scoring.retrieval import matched_share, retrieval_metrics

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vidalign.common.sample import DatasetInfo, Sample
    from vidalign.tasks.config import RetrievalConfig


class Retrieval:
    """Asks a model for `embed_video` and `embed_text`; records name the row of their text (scoring/embeddings.py)."""

    needs: ClassVar[str] = "embed_video"

    def __init__(self, config: RetrievalConfig) -> None:
        self.config = config
        self._file: EmbeddingFile | None = None

    def begin(self, path: Path, key: str, samples: Sequence[Sample]) -> None:
        """Called before a split is predicted: where its predictions go, and what names model and data."""
        self._file = EmbeddingFile(path, key, samples)

    def predict(self, model: nn.Module, batch: dict[str, Any]) -> list[Record]:
        """One record per sample of the batch. A video that several texts share is embedded with the first of them.

        An embedding that is not finite makes a failed record; its row is kept as it is.
        """
        file = self._file
        assert file is not None, "begin() comes before predict()"
        texts = dict(zip(batch["uid"], _rows(model.embed_text(batch)), strict=True))
        places = file.places_of_videos(batch["uid"])
        videos = {}
        if places:
            embedded = _rows(model.embed_video({**batch, "video": batch["video"][places]}))
            videos = dict(zip((batch["uid"][place] for place in places), embedded, strict=True))
        file.write(texts, videos)
        matched = self._matched(model, batch) if self.config.match_clips else [None] * len(batch["uid"])
        records = []
        for uid, share in zip(batch["uid"], matched, strict=True):
            row = file.text_row[uid]
            broken = [name for name, rows in (("text", texts), ("video", videos)) if not _is_finite(rows.get(uid))]
            if broken:
                reason = f"the embedding of its {' and '.join(broken)} holds NaN or infinity"
                records.append(Record(uid=uid, status="failed", reason=reason, embedding_row=row))
            else:
                records.append(Record(uid=uid, embedding_row=row, pred_value=share))
        return records

    def _matched(self, model: nn.Module, batch: dict[str, Any]) -> list[float]:
        if not hasattr(model, "embed_clips"):
            raise ConfigError(
                f"task.match_clips: {type(model).__name__} has no features of clips (embed_clips); write false"
            )
        return matched_share(*map(_rows, model.embed_clips(batch))).tolist()

    def metrics(
        self, records: Sequence[Record], samples: Sequence[Sample], info: DatasetInfo
    ) -> dict[str, float | int | str]:
        """R@1/5/10/50, MedR and MeanR of both directions, the share of texts with ties, and the rule for them.

        See scoring/retrieval.py; clip_sentence_match with task.match_clips.
        """
        assert self._file is not None, "begin() comes before metrics()"
        tables = self._file.close()
        return retrieval_metrics(tables, records, samples, ties=self.config.ties, block=self.config.block)


def _is_finite(row: np.ndarray | None) -> bool:
    return row is None or bool(np.isfinite(row).all())


def _rows(embedded: Tensor) -> np.ndarray:
    return embedded.float().cpu().numpy()
