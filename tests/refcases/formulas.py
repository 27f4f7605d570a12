"""Weights and pictures that cases give as a formula in words; the numbers in the words are read, not assumed."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


class ParameterFormula:
    """`v=float32(sin(arange(numel)*A+B*(i+1)))`, scaled by kind of weight as the text says."""

    def __init__(self, text: str) -> None:
        self.step, self.shift = map(float, re.search(r"\*([\d.]+)\+([\d.]+)\*\(i\+1\)", text).groups())
        self.gain = float(re.search(r"v\*sqrt\(([\d.]+)/", text)[1])
        self.var = float(re.search(r"running_var: 1\+([\d.]+)v", text)[1])
        self.norm = float(re.search(r'"weight": 1\+([\d.]+)v', text)[1])
        self.other = float(re.search(r"everything else.*: ([\d.]+)v", text)[1])

    def weights(self, shapes: Mapping[str, list[int]]) -> dict[str, Tensor]:
        """Every entry; integer buffers are 0."""
        made, counts = {}, {}
        for name, shape in shapes.items():
            module = name.split(".")[0]
            index = counts[module] = counts.get(module, -1) + 1
            if name.endswith("num_batches_tracked"):
                made[name] = torch.zeros((), dtype=torch.long)
                continue
            numel = int(np.prod(shape))
            v = np.sin(np.arange(numel, dtype=np.float64) * self.step + self.shift * (index + 1)).astype(np.float32)
            made[name] = torch.from_numpy(self._scaled(name, v.reshape(shape)))
        return made

    def _scaled(self, name: str, v: np.ndarray) -> np.ndarray:
        if v.ndim >= 2:
            return v * np.float32(np.sqrt(self.gain / v[0].size))
        if name.endswith("running_var"):
            return np.float32(1) + np.float32(self.var) * v
        if name.endswith("weight"):
            return np.float32(1) + np.float32(self.norm) * v
        return np.float32(self.other) * v


def clip_by_formula(text: str) -> Tensor:
    """`rgb=float32(cos(arange(..)*A)) as (K,T,3,P,P); mask channel = 1 on rows a..b` -> (K T, 4, P, P)."""
    step = float(re.search(r"\*([\d.]+)\)\)", text)[1])
    shape = [int(number) for number in re.search(r"as \(([\d,]+)\)", text)[1].split(",")]
    rgb = np.cos(np.arange(int(np.prod(shape)), dtype=np.float64) * step).astype(np.float32).reshape(shape)
    mask = np.zeros((*shape[:2], 1, *shape[3:]), dtype=np.float32)
    rows = re.search(r"rows (\d+)\.\.(\d+)", text)
    cols = re.search(r"col(?:umn)?s (\d+)\.\.(\d+)", text)
    top, bottom = (int(rows[1]), int(rows[2])) if rows else (0, shape[-2] - 1)
    left, right = (int(cols[1]), int(cols[2])) if cols else (0, shape[-1] - 1)
    mask[..., top : bottom + 1, left : right + 1] = 1
    return torch.from_numpy(np.concatenate([rgb, mask], axis=2)).flatten(0, 1)


def picture_by_formula(text: str, index: int, *, width: int, height: int) -> np.ndarray:
    """`frame(t)[y,x,c]=(ax+by+dt+ec+floor(x*y/f)) mod m uint8` -> (H, W, 3)."""
    factors = {name: int(number) for number, name in re.findall(r"(\d+)([xytc])(?=[+)])", text)}
    divisor, modulus = (int(number) for number in re.search(r"floor\(x\*y/(\d+)\)\) mod (\d+)", text).groups())
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    total = factors["x"] * x + factors["y"] * y + factors["t"] * index + factors["c"] * c + x * y // divisor
    return (total % modulus).astype(np.uint8)
