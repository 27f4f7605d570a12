"""Which positions of a training batch need logits, and how its rows travel through the LM; made in loader workers."""

from __future__ import annotations

from typing import Any

from vidalign.backbones.packing import common_head, pack_rows
from vidalign.text.plan import plan_stream


def plan_training(stream: dict[str, Any]) -> dict[str, Any]:
    """What `plan_stream` gives, and "packing", the fields of a Packing of the one pass."""
    plan = plan_stream(stream)
    shape, head = stream["ids"].flatten(0, 1).shape, common_head(stream)
    return {**plan, "packing": pack_rows([plan["rows_N"]], [shape], heads=[head])}
