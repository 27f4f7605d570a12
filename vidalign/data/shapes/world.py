"""The drawn world: what is seen in every frame of a clip, and what is true of it. Nothing is drawn here.

A clip has 30 frames at 10 frames per second. Time runs in slots of three frames, so that ten evenly spread frames see
every slot once. Positions in pixels of a 64 x 64 picture, x to the right, y downwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vidalign.common.rng import draw_seed

if TYPE_CHECKING:
    import numpy as np

SIZE_PX, NUM_FRAMES, FPS, SLOT_FRAMES = 64, 30, 10, 3
NUM_SLOTS = NUM_FRAMES // SLOT_FRAMES
SLOT_SECONDS = SLOT_FRAMES / FPS
COLOURS = ("red", "green", "blue", "yellow", "purple", "cyan")
WHITE = "white"
SHAPES = ("circle", "square", "triangle", "diamond")
FLASH = "cross"
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
ROWS = ("top", "upper", "middle", "lower", "bottom")
COLUMNS = ("leftmost", "left", "centre", "right", "rightmost")
EDGES = {"top": (32, 11), "bottom": (32, 53), "left": (11, 32), "right": (53, 32)}
NUMBERS = ("one", "two", "three", "four")


@dataclass(frozen=True)
class Thing:
    """One shape in one frame; edges wrap around."""

    shape: str
    colour: str
    x: float
    y: float
    radius: float

    @property
    def place(self) -> str:
        """Row and column in a grid of 5 x 5, in words."""
        cell = SIZE_PX / len(ROWS)
        return f"{ROWS[int(self.y % SIZE_PX // cell)]} {COLUMNS[int(self.x % SIZE_PX // cell)]}"


Frame = tuple[Thing, ...]


@dataclass(frozen=True)
class Clip:
    """What happens in one clip: its kind (a key of KINDS), the things in every frame, and the facts asked about."""

    clip_id: str
    kind: str
    frames: tuple[Frame, ...]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def captions(self) -> tuple[str, ...]:
        """One caption per slot: what its middle frame shows."""
        return tuple(caption(self.frames[slot * SLOT_FRAMES + 1]) for slot in range(NUM_SLOTS))


def caption(frame: Frame) -> str:
    """`a picture of a red circle at the top left [and ...]`, `a picture of nothing`."""
    seen = [f"a {thing.colour} {thing.shape} at the {thing.place}" for thing in frame]
    return "a picture of " + (" and ".join(seen) or "nothing")


def make_clip(seed: int, split: str, index: int, *, kind: str | None = None) -> Clip:
    """The clip `index` of a split; equal for equal arguments. Kinds follow one another in the order of SCHEDULE."""
    import numpy as np

    rng = np.random.default_rng(draw_seed(seed, 0, f"{split}/{index}", "shapes"))
    kind = kind or SCHEDULE[index % len(SCHEDULE)]
    frames, facts = KINDS[kind](rng)
    return Clip(f"{split}_{index:05d}", kind, frames, facts)


def _direction(rng: np.random.Generator) -> tuple[tuple[Frame, ...], dict[str, Any]]:
    """One thing moves; it starts anywhere and wraps around, so no single frame tells which way."""
    name = str(rng.choice(list(DIRECTIONS)))
    (dx, dy), speed = DIRECTIONS[name], rng.uniform(3.7, 4.8)  # about one cell of the 5 x 5 grid per slot
    shape, colour, radius = _look(rng)
    x, y = rng.uniform(0, SIZE_PX, 2)
    frames = tuple((Thing(shape, colour, x + dx * speed * t, y + dy * speed * t, radius),) for t in range(NUM_FRAMES))
    return frames, {"shape": shape, "colour": colour, "direction": name}


def _order(rng: np.random.Generator, count: int = 4) -> tuple[tuple[Frame, ...], dict[str, Any]]:
    """One thing takes `count` colours one after the other, with random lengths and pauses."""
    shape, _, radius = _look(rng)
    colours = [str(c) for c in rng.permutation(COLOURS)[:count]]
    # A colour or a pause between two of them lasts a slot at least; the rest falls anywhere.
    least = [0, *[1] * (2 * count - 1), 0]
    extra = _thrown(rng, NUM_SLOTS - sum(least), len(least))
    lengths = [low + int(more) for low, more in zip(least, extra, strict=True)]
    shown: list[str | None] = []
    for part, length in enumerate(lengths):
        shown += [colours[part // 2] if part % 2 else None] * length
    x, y = _spot(rng, radius)
    return _shown_at(shape, shown, x, y, radius), {"shape": shape, "colours": colours, "windows": _windows(shown)}


def _neighbours(rng: np.random.Generator) -> tuple[tuple[Frame, ...], dict[str, Any]]:
    """As `_order` with five colours; asked is what comes right after or before one of them."""
    return _order(rng, 5)


def _count(rng: np.random.Generator) -> tuple[tuple[Frame, ...], dict[str, Any]]:
    """One thing turns white one to four times; the white time is always four slots together."""
    shape, colour, radius = _look(rng)
    times = int(rng.integers(1, 5))
    runs = 1 + _thrown(rng, 4 - times, times)
    gaps = _thrown(rng, NUM_SLOTS - 4 - (times - 1), times + 1)
    gaps[1:-1] += 1
    shown: list[str | None] = [colour] * int(gaps[0])
    for run, gap in zip(runs, gaps[1:], strict=True):
        shown += [WHITE] * int(run) + [colour] * int(gap)
    x, y = _spot(rng, radius)
    white = [name if name == WHITE else None for name in shown]
    facts = {"shape": shape, "colour": colour, "times": times, "windows": _windows(white)}
    return _shown_at(shape, shown, x, y, radius), facts


def _while(rng: np.random.Generator) -> tuple[tuple[Frame, ...], dict[str, Any]]:
    """A circle takes four colours; a square beside it is white for one slot."""
    colours = [str(c) for c in rng.permutation(COLOURS)[:4]]
    lengths = 1 + _thrown(rng, NUM_SLOTS - 4, 4)
    shown = [name for name, length in zip(colours, lengths, strict=True) for _ in range(int(length))]
    moment, ground = int(rng.integers(NUM_SLOTS)), str(rng.choice(COLOURS))
    places = _places(rng, 2)
    frames = []
    for t in range(NUM_FRAMES):
        slot = t // SLOT_FRAMES
        square = WHITE if slot == moment else ground
        frames.append((Thing("circle", shown[slot], *places[0], 8.0), Thing("square", square, *places[1], 8.0)))
    return tuple(frames), {"colours": colours, "answer": shown[moment], "windows": [_window(moment, moment + 1)]}


def _hit(rng: np.random.Generator) -> tuple[tuple[Frame, ...], dict[str, Any]]:
    """Four things stand around a fifth, which moves and hits one; that one jumps aside."""
    colours = [str(c) for c in rng.permutation(COLOURS)[:5]]
    shapes = [str(s) for s in rng.choice(SHAPES, 5)]
    spots = list(EDGES.values())
    target, start = int(rng.integers(4)), int(rng.integers(1, 4)) * SLOT_FRAMES
    tx, ty = spots[target]
    frames = []
    for t in range(NUM_FRAMES):
        way = min(max(t - start, 0) / 9, 1.0)
        mover = Thing(shapes[4], colours[4], 32 + 0.45 * way * (tx - 32), 32 + 0.45 * way * (ty - 32), 6.0)
        jump = 4.0 * (way == 1.0)
        others = []
        for i, (x, y) in enumerate(spots):
            out = jump if i == target else 0.0
            side = (out, 0.0) if x == SIZE_PX // 2 else (0.0, out)
            others.append(Thing(shapes[i], colours[i], x + 2 * side[0], y + 2 * side[1], 6.0))
        frames.append((*others, mover))
    facts = {"mover": colours[4], "shape": shapes[4], "others": colours[:4], "answer": colours[target]}
    return tuple(frames), facts | {"windows": [((start + 9) / FPS, (start + 12) / FPS)]}


def _vanish(rng: np.random.Generator) -> tuple[tuple[Frame, ...], dict[str, Any]]:
    """Of two things one goes; in the same moment a third comes. A single frame shows two, whenever it is taken."""
    stays, goes, comes, absent = (str(c) for c in rng.permutation(COLOURS)[:4])
    shapes, places = [str(s) for s in rng.choice(SHAPES, 3)], _places(rng, 3)
    moment = int(rng.integers(3, NUM_SLOTS - 2))
    stay, go, come = (Thing(s, c, *p, 8.0) for s, c, p in zip(shapes, (stays, goes, comes), places, strict=True))
    frames = tuple((stay, go if t < moment * SLOT_FRAMES else come) for t in range(NUM_FRAMES))
    # Either one may be named first, or its place in the caption would tell which one stays.
    if rng.integers(2):
        frames = tuple(frame[::-1] for frame in frames)
    facts = {"answer": goes, "others": [stays, goes, comes, absent]}
    return frames, facts | {"windows": [_window(moment, moment + 1)]}


def _flash(rng: np.random.Generator) -> tuple[tuple[Frame, ...], dict[str, Any]]:
    """A thing moves; for one slot a white cross flashes up at one of the four edges."""
    frames, _ = _direction(rng)
    where, moment = str(rng.choice(list(EDGES))), int(rng.integers(NUM_SLOTS))
    cross = Thing(FLASH, WHITE, *EDGES[where], 10.0)
    frames = tuple((*frame, cross) if t // SLOT_FRAMES == moment else frame for t, frame in enumerate(frames))
    return frames, {"answer": where, "windows": [_window(moment, moment + 1)]}


def _still(rng: np.random.Generator) -> tuple[tuple[Frame, ...], dict[str, Any]]:
    """One thing stands still: for the shortened demo, no part of the benchmark's mixture."""
    shape, colour, radius = _look(rng)
    x, y = _spot(rng, radius)
    return _shown_at(shape, [colour] * NUM_SLOTS, x, y, radius), {"shape": shape, "colour": colour}


KINDS: dict[str, Callable[[np.random.Generator], tuple[tuple[Frame, ...], dict[str, Any]]]] = {
    "direction": _direction,
    "order": _order,
    "count": _count,
    "neighbours": _neighbours,
    "while": _while,
    "hit": _hit,
    "vanish": _vanish,
    "flash": _flash,
    "still": _still,
}
CORE = ("direction", "order", "count")
HARD = ("neighbours", "while", "hit", "vanish", "flash")
# Three core clips of each kind for every hard one of each kind.
SCHEDULE = (*CORE, "neighbours", *CORE, "while", "hit", *CORE, "vanish", "flash")


def _look(rng: np.random.Generator) -> tuple[str, str, float]:
    return str(rng.choice(SHAPES)), str(rng.choice(COLOURS)), float(rng.uniform(6, 11))


def _spot(rng: np.random.Generator, radius: float) -> tuple[float, float]:
    x, y = rng.uniform(radius, SIZE_PX - radius, 2)
    return float(x), float(y)


def _places(rng: np.random.Generator, count: int) -> list[tuple[float, float]]:
    """Spots that do not touch: different cells of a 3 x 3 grid."""
    cells = rng.permutation(9)[:count]
    return [(12.0 + 20 * int(c % 3), 12.0 + 20 * int(c // 3)) for c in cells]


def _thrown(rng: np.random.Generator, balls: int, bins: int) -> np.ndarray:
    """`balls` thrown into `bins`, uniformly and independently: how many lie in each."""
    return rng.multinomial(balls, [1 / bins] * bins)


def _shown_at(shape: str, shown: list[str | None], x: float, y: float, radius: float) -> tuple[Frame, ...]:
    colours = [shown[t // SLOT_FRAMES] for t in range(NUM_FRAMES)]
    return tuple(() if c is None else (Thing(shape, c, x, y, radius),) for c in colours)


def _windows(shown: list[str | None]) -> list[tuple[float, float]]:
    """(start, end) in seconds of every run of one colour."""
    found, start = [], None
    for slot, name in enumerate([*shown, None]):
        if start is not None and name != shown[start]:
            found.append(_window(start, slot))
            start = None
        if start is None and name is not None:
            start = slot
    return found


def _window(first_slot: int, end_slot: int) -> tuple[float, float]:
    return round(first_slot * SLOT_SECONDS, 3), round(end_slot * SLOT_SECONDS, 3)
