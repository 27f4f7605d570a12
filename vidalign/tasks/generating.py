"""What tasks share that let a model speak: settings in, records with pred_text out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vidalign.common.record import Record

if TYPE_CHECKING:
    from torch import nn

    from vidalign.tasks.config import GenerationConfig


def said(model: nn.Module, batch: dict[str, Any], settings: GenerationConfig) -> list[Record]:
    """One record per sample of the batch, in its order; an empty text is kept and noted."""
    options: dict[str, Any] = {}
    if settings.max_new_tokens is not None:
        options["max_new_tokens"] = settings.max_new_tokens
    if settings.num_beams != 1:
        options["num_beams"] = settings.num_beams
    texts = model.generate(batch, **options)
    return [
        Record(uid=uid, pred_text=text, reason=None if text.strip() else "nothing was said")
        for uid, text in zip(batch["uid"], texts, strict=True)
    ]
