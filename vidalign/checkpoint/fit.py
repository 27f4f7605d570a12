"""Complete or error: do the weights of a file fit a model exactly?"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from vidalign.common.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor


def misfits(
    wanted: Mapping[str, tuple[int, ...]], given: Mapping[str, Tensor], *, optional: Collection[str] = ()
) -> list[str]:
    """Every missing, surplus and misshapen name, one line each; [] when the file fits.

    `wanted` maps the model's names to shapes; names in `optional` may be absent from the file.
    """
    missing = [name for name in wanted if name not in given and name not in optional]
    surplus = [name for name in given if name not in wanted]
    shapes = [
        f"shape of {name}: file {tuple(given[name].shape)}, model {tuple(wanted[name])}"
        for name in wanted
        if name in given and tuple(given[name].shape) != tuple(wanted[name])
    ]
    return [f"missing: {name}" for name in missing] + [f"surplus: {name}" for name in surplus] + shapes


def require_fit(
    wanted: Mapping[str, tuple[int, ...]], given: Mapping[str, Tensor], *, where: str, optional: Collection[str] = ()
) -> None:
    """Raise CheckpointError that lists every misfit; return when there is none."""
    problems = misfits(wanted, given, optional=optional)
    if problems:
        raise CheckpointError(
            f"{where} does not fit this model ({len(problems)} of {len(wanted)} names differ); nothing was loaded:\n  "
            + "\n  ".join(problems)
        )
