"""Videos that the support memory has moved already: computed once per video, whatever the number of its questions.

Kept in RAM (the latest) and, with a folder, on disk for later runs: `part-*.safetensors` with one (F, E) tensor per
video. The name of a video is that of its frames' content and of the memory's, so nothing stale is ever found.

Shape letters: B videos, F frames, E width of a feature.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor

from vidalign.common.io import atomic_write, content_key
from vidalign.models.topa.cross_modal import SupportMemory

_KEPT_IN_RAM = 4096  # 126 MB at ten frames of CLIP ViT-L/14
_log = logging.getLogger(__name__)


class ProjectedVideos:
    """The memory's `project` with a cache. Several processes may share the folder: parts are written atomically."""

    def __init__(self, memory: SupportMemory, folder: Path | None = None) -> None:
        self.memory, self._parent = memory, folder
        self._ready: OrderedDict[str, Tensor] = OrderedDict()
        self._places: dict[str, Path] | None = None

    def project(self, video_BFE: Tensor) -> Tensor:
        """Unit frames (B, F, E) -> the same shape on the text side, float32, unit rows."""
        frames = video_BFE.float().cpu().contiguous()
        keys = [content_key(self.memory.key, list(video.shape), video.numpy().tobytes()) for video in frames]
        known = {key: found for key in set(keys) if (found := self._find(key)) is not None}
        new = [index for index, key in enumerate(keys) if key not in known and key not in keys[:index]]
        if new:
            moved = self.memory.project(video_BFE[new]).cpu()
            fresh = {keys[index]: tensor.clone() for index, tensor in zip(new, moved, strict=True)}
            self._store(fresh)
            known |= fresh
        return torch.stack([known[key] for key in keys]).to(video_BFE.device)

    def _find(self, key: str) -> Tensor | None:
        if key in self._ready:
            self._ready.move_to_end(key)
            return self._ready[key]
        place = self._index().get(key)
        if place is None:
            return None
        from safetensors import safe_open

        with safe_open(place, "pt") as file:
            self._keep(key, file.get_tensor(key))
        return self._ready[key]

    def _store(self, fresh: dict[str, Tensor]) -> None:
        for key, tensor in fresh.items():
            self._keep(key, tensor)
        if self._folder is None:
            return
        from safetensors.torch import save

        path = self._folder / f"part-{content_key(sorted(fresh))}.safetensors"
        with atomic_write(path, "wb") as file:
            file.write(save(fresh))
        self._index().update(dict.fromkeys(fresh, path))

    def _keep(self, key: str, tensor: Tensor) -> None:
        self._ready[key] = tensor
        while len(self._ready) > _KEPT_IN_RAM:
            self._ready.popitem(last=False)

    @property
    def _folder(self) -> Path | None:
        return None if self._parent is None else self._parent / f"memory-{self.memory.key}"

    def _index(self) -> dict[str, Path]:
        """Which part holds which video; a part that cannot be read is left aside."""
        if self._places is None:
            from safetensors import SafetensorError, safe_open

            self._places = {}
            for path in sorted(self._folder.glob("part-*.safetensors")) if self._folder is not None else ():
                try:
                    with safe_open(path, "pt") as file:
                        self._places.update(dict.fromkeys(file.keys(), path))
                except (SafetensorError, OSError) as error:
                    _log.warning("%s cannot be read and is left aside: %s", path, error)
        return self._places
