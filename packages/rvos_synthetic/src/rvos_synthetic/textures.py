"""Surfaces: noise, the patterns of objects, and the colours that words name. All in integers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rvos_synthetic.random_stream import RandomStream
from rvos_synthetic.shapes import local_grid
from rvos_synthetic.units import UNIT

COLOURS = {
    "red": (205, 40, 40),
    "orange": (238, 132, 28),
    "yellow": (236, 220, 60),
    "green": (48, 158, 62),
    "blue": (44, 84, 208),
    "purple": (134, 52, 168),
    "pink": (242, 138, 184),
    "white": (236, 236, 232),
    "black": (28, 28, 32),
}
COLOUR_SPREAD = 14  # either way, in each channel
PATTERNS = ("plain", "striped", "spotted", "checkered")

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Area:
    """The points at which noise is sampled.

    Attributes:
        lines: y of the rows, int32 [H], from 0 to extent[0].
        columns: x of the columns, int32 [W], from 0 to extent[1].
        extent: height and width of the whole area; equal areas have equal noise, however finely it is sampled.
    """

    lines: NDArray[np.int32]
    columns: NDArray[np.int32]
    extent: tuple[int, int]


def noise(random: RandomStream, area: Area, bumps: int) -> Bytes:
    """Noise uint8 [H, W], interpolated between random values at grid points `bumps` apart."""
    grid = random.bytes(area.extent[0] // bumps + 2, area.extent[1] // bumps + 2).astype(np.int32)
    rows, down = _blend_weights(area.lines, bumps)
    left, across = _blend_weights(area.columns, bumps)
    wide = grid[:, left] * (256 - across) + grid[:, left + 1] * across
    both = wide[rows] * (256 - down[:, None]) + wide[rows + 1] * down[:, None]
    return (both >> 16).astype(np.uint8)


def _blend_weights(places: NDArray[np.int32], bumps: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    fraction = (places % bumps * 256 // bumps).astype(np.int32)
    return (places // bumps).astype(np.int32), fraction


def cloudy_noise(random: RandomStream, area: Area, bumps: int) -> Bytes:
    """Noise as from `noise`, with finer and fainter noise on top."""
    coarse, middle, fine = (noise(random, area, bumps // part).astype(np.uint16) for part in (1, 3, 9))
    return ((4 * coarse + 2 * middle + 2 * fine) >> 3).astype(np.uint8)


def muted_colours(random: RandomStream) -> Bytes:
    """Colours uint8 [256, 3] for the values of a noise, interpolated between five that no word names."""
    stops = np.array([_muted(random) for _ in range(5)], np.int32)
    stops = stops[[0, 0, 1, 2, 3, 4, 4]]  # extreme values of the noise are rare
    value = np.arange(256, dtype=np.int32) * 6
    left, share = value >> 8, value & 255
    return ((stops[left] * (256 - share[:, None]) + stops[left + 1] * share[:, None]) >> 8).astype(np.uint8)


def _muted(random: RandomStream) -> tuple[int, int, int]:
    grey = random.between(60, 190)
    red, green, blue = (grey + random.between(-30, 30) for _ in range(3))
    return red, green, blue


def surface(random: RandomStream, colour: str, pattern: str, radius: int) -> Bytes:
    """The colours of an object, uint8 [S, S, 3] with S = 3 * radius, on the grid of its stencil.

    The pattern has two tones of one colour, so that the word for the colour stays true.
    """
    tones = _tones(random, colour)
    lines, columns = local_grid(radius)
    second = _pattern(random, pattern, columns[None, :], lines[:, None])
    whole = Area(lines - lines[0], columns - columns[0], (3 * UNIT, 3 * UNIT))
    grain = (cloudy_noise(random, whole, UNIT // 2).astype(np.int16) - 128) // 4
    return np.clip(tones[second.astype(np.uint8)] + grain[..., None], 0, 255).astype(np.uint8)


def _tones(random: RandomStream, colour: str) -> NDArray[np.int16]:
    """The colour itself and its second tone, int16 [2, 3]."""
    first = np.array([part + random.between(-COLOUR_SPREAD, COLOUR_SPREAD) for part in COLOURS[colour]], np.int16)
    if colour == "black":
        return np.stack([first, first + 75])
    if colour == "white":
        return np.stack([first, first - 85])
    return np.stack([first, first * 9 // 20])


def _pattern(random: RandomStream, pattern: str, u: NDArray[np.int32], v: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Where the second tone is."""
    shift = random.below(UNIT)
    match pattern:
        case "plain":
            return np.zeros((v.size, u.size), bool)
        case "striped":
            return np.broadcast_to((u + shift) // (UNIT * 7 // 20) % 2 == 0, (v.size, u.size))
        case "checkered":
            width = UNIT * 9 // 20
            return ((u + shift) // width + (v + shift) // width) % 2 == 0
        case "spotted":
            width = UNIT * 3 // 5
            x, y = (u + shift) % width - width // 2, (v + shift) % width - width // 2
            return x * x + y * y <= (width * 8 // 25) ** 2
        case _:
            raise ValueError(f"pattern: expected one of {', '.join(PATTERNS)}, found {pattern!r}")
