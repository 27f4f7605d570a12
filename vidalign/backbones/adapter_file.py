"""The file that the authors of LLaMA-VQA, BoViLA and TOPA write, and resume from."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from torch import Tensor


def official_checkpoint(
    state: Mapping[str, Tensor],
    *,
    optimizer: dict[str, Any],
    epoch: int,
    scaler: dict[str, Any] | None = None,
    args: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What the authors' code writes and resumes from, made of `export_state()`, `optimizer.state_dict()` and the rest.

    `epoch` is the last finished one (0-based).
    """
    return {
        "model": dict(state),
        "optimizer": optimizer,
        "epoch": epoch,
        "scaler": scaler or {},
        "args": argparse.Namespace(**(args or {})),
    }
