"""Random keys: every draw is named by (seed, epoch, uid), so it depends on no worker, rank or restart."""

from __future__ import annotations

import hashlib
import random


def draw_seed(seed: int, epoch: int, uid: str, purpose: str = "") -> int:
    """A 63-bit seed for one draw, equal wherever and whenever it is asked for."""
    digest = hashlib.blake2b(f"{seed}/{epoch}/{uid}/{purpose}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator(seed: int) -> random.Random:
    """Python's generator, from which frames and crop boxes are drawn."""
    return random.Random(seed)
