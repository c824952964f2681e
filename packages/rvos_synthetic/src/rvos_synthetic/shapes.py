"""The shapes of objects, as stencils: exact tests on integers, as the pixels of library routines differ by version."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rvos_synthetic.units import TURN, UNIT, cosine, sine

SHAPES = ("circle", "square", "triangle", "star", "cross", "heart", "ring", "moon")
ROUND = ("circle", "ring")  # only their pattern shows that they turn

Grid = NDArray[np.int32]
Mask = NDArray[np.bool_]


def local_grid(radius: int) -> tuple[Grid, Grid]:
    """Coordinates (u, v), int32 [S] each, of the pixels of a stencil with S = 3 * radius, where UNIT is the radius.

    The stencil reaches to 1.5 radii, so that it holds every pixel of the square around a turned object.
    """
    steps = np.arange(3 * radius, dtype=np.int32)
    line = ((2 * steps + 1 - 3 * radius) * UNIT) // (2 * radius)
    return line, line


@lru_cache(maxsize=32)
def stencil(shape: str, radius: int) -> Mask:
    """The mask of a shape, bool [S, S] with S = 3 * radius; it lies within `radius` of the middle."""
    across, down = local_grid(radius)
    u, v = across[None, :], down[:, None]
    match shape:
        case "circle":
            mask = _disk(u, v, 0, 0, UNIT)
        case "ring":
            mask = _disk(u, v, 0, 0, UNIT) & ~_disk(u, v, 0, 0, UNIT * 11 // 20)
        case "moon":
            mask = _disk(u, v, 0, 0, UNIT) & ~_disk(u, v, UNIT * 9 // 20, 0, UNIT * 4 // 5)
        case "square":
            mask = _rectangle(u, v, UNIT * 7 // 10, UNIT * 7 // 10)
        case "cross":
            mask = _rectangle(u, v, UNIT * 15 // 16, UNIT // 3) | _rectangle(u, v, UNIT // 3, UNIT * 15 // 16)
        case "heart":
            aside, above, radius = UNIT * 44 // 100, -UNIT // 4, UNIT * 48 // 100
            lobes = _disk(u, v, -aside, above, radius) | _disk(u, v, aside, above, radius)
            mask = lobes | _polygon(u, v, [(-UNIT * 85 // 100, 0), (0, UNIT * 95 // 100), (UNIT * 85 // 100, 0)])
        case "triangle":
            mask = _polygon(u, v, _corners(3, UNIT, UNIT))
        case "star":
            mask = _polygon(u, v, _corners(10, UNIT, UNIT * 9 // 20))
        case _:
            raise ValueError(f"shape: expected one of {', '.join(SHAPES)}, found {shape!r}")
    mask.setflags(write=False)
    return mask


def _disk(u: Grid, v: Grid, x: int, y: int, radius: int) -> Mask:
    return (u - x) ** 2 + (v - y) ** 2 <= radius * radius


def _rectangle(u: Grid, v: Grid, width: int, height: int) -> Mask:
    return (abs(u) <= width) & (abs(v) <= height)


def _corners(count: int, even: int, odd: int) -> list[tuple[int, int]]:
    """Corners around the middle, at the distances `even` and `odd` in turn."""
    away = [odd if k % 2 else even for k in range(count)]
    angles = [k * TURN // count - TURN // 4 for k in range(count)]
    return [(r * cosine(a) // UNIT, r * sine(a) // UNIT) for r, a in zip(away, angles, strict=True)]


def _polygon(u: Grid, v: Grid, corners: Sequence[tuple[int, int]]) -> Mask:
    """The pixels from which a ray to the right crosses an odd number of edges."""
    inside = np.zeros(np.broadcast_shapes(u.shape, v.shape), bool)
    for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if y0 > y1:
            x0, y0, x1, y1 = x1, y1, x0, y0
        left_of_edge = (u - x0) * (y1 - y0) < (v - y0) * (x1 - x0)
        inside ^= (v >= y0) & (v < y1) & left_of_edge
    return inside
