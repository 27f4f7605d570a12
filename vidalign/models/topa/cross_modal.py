"""Cross-modal projection (TOPA, arXiv 2405.13911): move video features to the text side of CLIP, without training.

Each frame becomes the softmax-weighted sum of the rows of a support memory of CLIP text features. The memory is read in
chunks with a running softmax, so that a million rows on disk need neither a copy in RAM nor a (frames x rows) matrix.

Shape letters: N frames, M rows of the memory, C rows of a chunk, K kept rows, E width of a feature.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from vidalign.common.errors import ConfigError
from vidalign.common.io import content_key
from vidalign.media.arrays import open_matrix

_BLOCK_BYTES = 1 << 20

# Frames whose scores with a chunk are held at a time (8 MiB at 4096 rows): they stay in a processor's cache, and the
# matrix products are large enough for its full speed.
_BLOCK_FRAMES = 512


class SupportMemory:
    """CLIP text features (M, E), memory-mapped where the file allows it; they are not normalised here.

    Opens lazily in every process; pickling carries only the path.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        width: int,
        rows: int | None = None,
        temperature: float = 0.01,
        chunk_rows: int = 4096,
        top_k: int | None = None,
    ) -> None:
        self.path, self.width, self.max_rows = Path(path), width, rows
        self.temperature, self.chunk_rows, self.top_k = temperature, chunk_rows, top_k
        self._rows: Tensor | None = None

    @cached_property
    def key(self) -> str:
        """Names the file's content (size, first and last MiB) and everything else that decides a projection."""
        size = self.path.stat().st_size
        with open(self.path, "rb") as file:
            head = file.read(_BLOCK_BYTES)
            file.seek(max(size - _BLOCK_BYTES, 0))
            return content_key(size, head, file.read(_BLOCK_BYTES), self.max_rows, self.temperature, self.top_k)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_rows": None}

    @property
    def rows(self) -> Tensor:
        """(M, E) as stored; ConfigError when the file's width is not the model's."""
        if self._rows is None:
            rows = open_matrix(self.path)
            if rows.shape[1] != self.width:
                raise ConfigError(
                    f"model.memory.path: {self.path} has rows of width {rows.shape[1]}, the model's features have "
                    f"{self.width} (model.visual_dim); give a memory made with the same CLIP model"
                )
            self._rows = rows[: self.max_rows]
        return self._rows

    def check(self) -> None:
        """ConfigError at the start of a run, not at its first evaluation, when the file does not fit the model."""
        if self.path.is_file():  # the config's check has told of a missing one
            assert self.rows.shape[1] == self.width

    def project(self, frames: Tensor) -> Tensor:
        """Unit frames (..., E) -> the same shape on the text side, float32, unit rows."""
        flat_NE = frames.reshape(-1, frames.shape[-1]).float()
        if self.top_k is None:
            moved_NE = project(flat_NE, self.rows, temperature=self.temperature, chunk_rows=self.chunk_rows)
        else:
            moved_NE = project_top_k(
                flat_NE, self.rows, k=self.top_k, temperature=self.temperature, chunk_rows=self.chunk_rows
            )
        return moved_NE.view(frames.shape)


def project(frames_NE: Tensor, memory_ME: Tensor, *, temperature: float = 0.01, chunk_rows: int = 4096) -> Tensor:
    """normalize(softmax(frames memory^T / temperature) memory), exactly, over chunks of the memory.

    Each chunk is read (and converted) once, for all frames. A zero frame (padding) becomes the normalised mean of the
    memory, as in the official code. [eval_mcq_memory]
    """
    blocks = [_RunningMean(block_NE / temperature) for block_NE in frames_NE.split(_BLOCK_FRAMES)]
    for chunk_CE in memory_ME.split(chunk_rows):
        chunk_CE = chunk_CE.to(frames_NE)
        for block in blocks:
            block.add(chunk_CE)
    return torch.cat([F.normalize(block.sum_NE / block.weight_N1, dim=-1) for block in blocks])


class _RunningMean:
    """Softmax-weighted mean of rows that come bit by bit; queries (N, E) are divided by the temperature already."""

    def __init__(self, query_NE: Tensor) -> None:
        self.query_NE = query_NE
        self.top_N1 = query_NE.new_full((len(query_NE), 1), float("-inf"))
        self.weight_N1 = torch.zeros_like(self.top_N1)
        self.sum_NE = torch.zeros_like(query_NE)

    def add(self, rows_CE: Tensor) -> None:
        """Take more rows into the mean."""
        score_NC = self.query_NE @ rows_CE.T
        top_N1 = torch.maximum(self.top_N1, score_NC.amax(dim=1, keepdim=True))
        share_NC = score_NC.sub_(top_N1).exp_()
        # What was summed before counts relative to the new maximum.
        kept_N1 = (self.top_N1 - top_N1).exp()
        self.weight_N1 = self.weight_N1 * kept_N1 + share_NC.sum(dim=1, keepdim=True)
        self.sum_NE = (self.sum_NE * kept_N1).addmm_(share_NC, rows_CE)
        self.top_N1 = top_N1


def project_top_k(
    frames_NE: Tensor, memory_ME: Tensor, *, k: int, temperature: float = 0.01, chunk_rows: int = 4096
) -> Tensor:
    """The same with only the k most similar rows of the memory: an approximation that the paper does not use."""
    best_NK = frames_NE.new_empty(len(frames_NE), 0)
    index_NK = torch.empty(len(frames_NE), 0, dtype=torch.long, device=frames_NE.device)
    start = 0
    for chunk_CE in memory_ME.split(chunk_rows):
        score_NC = frames_NE @ chunk_CE.to(frames_NE).T / temperature
        best_NC = torch.cat([best_NK, score_NC], dim=1)
        here_C = torch.arange(start, start + len(chunk_CE), device=frames_NE.device).expand(len(frames_NE), -1)
        best_NK, chosen_NK = best_NC.topk(min(k, best_NC.shape[1]), dim=1)
        index_NK = torch.cat([index_NK, here_C], dim=1).gather(1, chosen_NK)
        start += len(chunk_CE)
    rows_NKE = memory_ME[index_NK.to(memory_ME.device)].to(frames_NE)
    return F.normalize(torch.einsum("nk,nke->ne", best_NK.softmax(dim=1), rows_NKE), dim=-1)
