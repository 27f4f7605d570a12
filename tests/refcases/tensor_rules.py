"""The `how` rules for tensors. Every rule returns (largest absolute difference, what is wrong or None)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

Verdict = tuple[float, str | None]


def as_array(value: Any) -> np.ndarray:
    """Tensor, array, number or list -> numpy; floats become float64, integers and truth values int64."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = value.double().numpy() if value.is_floating_point() else value.numpy()
    array = np.asarray(value)
    if array.dtype.kind == "f":
        return array.astype(np.float64)
    if array.dtype.kind in "iub":
        return array.astype(np.int64)
    raise TypeError(f"cannot compare values of type {array.dtype}")


def compare_tensors(got: Any, expected: Any, entry: dict[str, Any]) -> Verdict:
    """Apply `entry` to one tensor."""
    how = entry["how"]
    if how not in _RULES:
        return 0.0, f"unknown rule {how!r}"
    try:
        got_array, expected_array = as_array(got), as_array(expected)
    except (TypeError, ValueError) as error:
        return 0.0, str(error)
    single = how == "close" and {got_array.shape, expected_array.shape} <= {(), (1,)}
    if got_array.shape != expected_array.shape and not single:
        return 0.0, f"shape {list(got_array.shape)}, expected {list(expected_array.shape)}"
    return _RULES[how](got_array.reshape(expected_array.shape), expected_array, entry)


def _exact(got: np.ndarray, expected: np.ndarray, entry: dict[str, Any]) -> Verdict:
    both_nan = np.isnan(got.astype(np.float64)) & np.isnan(expected.astype(np.float64))
    wrong = (got != expected) & ~both_nan
    if not wrong.any():
        return 0.0, None
    return _largest(got, expected, wrong), f"{int(wrong.sum())} of {wrong.size} values differ, {_where(wrong)}"


def _close(got: np.ndarray, expected: np.ndarray, entry: dict[str, Any]) -> Verdict:
    got, expected = got.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(got) & np.isfinite(expected)
    equal = (got == expected) | (np.isnan(got) & np.isnan(expected))
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.abs(got - expected)
        allowed = entry["atol"] + entry["rtol"] * np.abs(expected)
    wrong = ~np.where(finite, difference <= allowed, equal)
    if not wrong.any():
        return _largest(got, expected, finite), None
    odd = wrong & ~finite
    text = f"{int(wrong.sum())} of {wrong.size} values are off, {_where(wrong)}"
    if odd.any():
        return float("nan"), f"{text}; {int(odd.sum())} of them not finite on one side"
    worst = float(np.max(np.where(wrong, difference / np.maximum(allowed, 1e-300), 0.0)))
    return _largest(got, expected, wrong), f"{text}; worst {worst:.3g} times the tolerance"


def _cosine(got: np.ndarray, expected: np.ndarray, entry: dict[str, Any]) -> Verdict:
    got, expected = got.astype(np.float64).ravel(), expected.astype(np.float64).ravel()
    if not (np.isfinite(got).all() and np.isfinite(expected).all()):
        return float("nan"), "not finite"
    norms = np.linalg.norm(got), np.linalg.norm(expected)
    cosine = float(got @ expected / (norms[0] * norms[1])) if min(norms) > 0 else float(norms[0] == norms[1])
    error = _largest(got, expected, np.ones(got.shape, bool))
    if cosine < entry["min"]:
        return error, f"cosine {cosine:.6f} below {entry['min']}"
    if "rtol" in entry and abs(norms[0] - norms[1]) > entry["rtol"] * norms[1]:
        return error, f"norm {norms[0]:.6g}, expected {norms[1]:.6g} within {entry['rtol']} of it"
    return error, None


def _set(got: np.ndarray, expected: np.ndarray, entry: dict[str, Any]) -> Verdict:
    same = sorted(got.ravel().tolist()) == sorted(expected.ravel().tolist())
    return 0.0, None if same else "not the same values"


def _largest(got: np.ndarray, expected: np.ndarray, where: np.ndarray) -> float:
    if not where.any():
        return 0.0
    return float(np.max(np.abs(got[where].astype(np.float64) - expected[where].astype(np.float64))))


def _where(wrong: np.ndarray) -> str:
    return f"first at {[int(i) for i in np.argwhere(wrong)[0]]}"


_RULES = {"exact": _exact, "close": _close, "cosine": _cosine, "set": _set}
