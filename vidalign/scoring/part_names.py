"""Names of the metrics of question types and groups, whatever a benchmark calls those."""

from __future__ import annotations

from collections.abc import Collection, Mapping

# What follows a metric's own name in names that are no type's: its limits, its mean over groups and that mean's limits.
_ENDINGS = ("low", "high", "macro", "macro_low", "macro_high")


def by_part(metric: str, shares: Mapping[str, float], *, kind: str, taken: Collection[str] = ()) -> dict[str, float]:
    """`<metric>_<part>` -> its share; `<metric>_<kind>_<part>` for a part called like a limit (low), or whose name is
    one of `taken`, so that neither number hides the other. kind: "type" or "group"."""
    used = {*taken, *(f"{metric}_{ending}" for ending in _ENDINGS)}
    keys = {part: f"{metric}_{part}" for part in shares}
    odd = [part for part, key in keys.items() if key in used]
    used |= set(keys.values())
    for part in odd:
        name = part
        while keys[part] in used:
            name = f"{kind}_{name}"
            keys[part] = f"{metric}_{name}"
        used.add(keys[part])
    return {keys[part]: share for part, share in shares.items()}
