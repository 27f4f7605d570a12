"""CLIP text features of the drawn world's captions, and TOPA's support memory of them.

Shape letters: N captions, E width of a feature, F frames.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidalign.backbones.tiny_clip import TinyCLIP
from vidalign.common.io import atomic_write, content_key, file_key, write_json
from vidalign.data.shapes.text_videos import ShapesText
from vidalign.text.tokenizers import load_tokenizer

if TYPE_CHECKING:
    from torch import Tensor

    from vidalign.data.shapes.world import Clip

REPORT = "report.json"


def make_caption_features(folder: Path, clip_folder: Path, config: Any) -> dict[str, Any]:
    """Write `features.pth` {clip: (F, E)} of shapes_text's two splits and `memory.pth` (N, E), the training captions'
    unit rows, into `folder`, or find them there; returns the report {key, videos, captions}.
    """
    import torch
    import torch.nn.functional as F

    key = content_key(config.seed, config.num_train, config.num_test, file_key(clip_folder / "model.safetensors"))
    path = folder / REPORT
    if path.is_file() and (report := json.loads(path.read_text(encoding="utf-8"))).get("key") == key:
        return report
    builder = ShapesText(config)
    train, test = builder.clips("train"), builder.clips("test")
    features = caption_features(clip_folder, [*train, *test])
    memory_NE = torch.cat([features[clip.clip_id] for clip in train]).unique(dim=0)
    for name, content in (("features.pth", features), ("memory.pth", F.normalize(memory_NE, dim=-1))):
        with atomic_write(folder / name, "wb") as file:
            torch.save(content, file)
    report = {"key": key, "videos": len(features), "captions": len(memory_NE)}
    write_json(path, report)
    return report


def caption_features(clip_folder: Path, clips: Sequence[Clip]) -> dict[str, Tensor]:
    """{clip id: (F, E)} CLIP text features of each frame's caption; every caption is encoded once."""
    import torch

    clip = TinyCLIP.load(clip_folder)
    tokenizer = load_tokenizer(clip.tokenizer_path)
    captions = list(dict.fromkeys(text for one in clips for text in one.captions))
    with torch.no_grad():
        parts = [captions[start : start + 256] for start in range(0, len(captions), 256)]
        rows_NE = torch.cat([clip.texts([tokenizer.encode(text) for text in part]) for part in parts])
    row_of = {text: row for row, text in enumerate(captions)}
    return {one.clip_id: rows_NE[[row_of[text] for text in one.captions]] for one in clips}
