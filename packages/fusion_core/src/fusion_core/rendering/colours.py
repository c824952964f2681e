"""Colours that distinguish expressions, on any picture and for colour-blind people."""

import colorsys

Colour = tuple[int, int, int]  # RGB, 0 to 255

# Okabe and Ito, "Color Universal Design" (2008), without black; the two that differ most come first.
PALETTE: tuple[Colour, ...] = (
    (213, 94, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (204, 121, 167),
    (0, 114, 178),
    (230, 159, 0),
)
GOLDEN_RATIO = 0.618034  # hues a golden ratio apart never repeat and stay apart


def colours(count: int) -> list[Colour]:
    """`count` different colours. After those of the palette come hues spread around the circle."""
    further = (
        colorsys.hsv_to_rgb((0.78 + i * GOLDEN_RATIO) % 1, (0.85, 0.55)[i % 2], (0.95, 0.7, 0.85)[i % 3])
        for i in range(count - len(PALETTE))
    )
    return [*PALETTE[:count], *((round(255 * r), round(255 * g), round(255 * b)) for r, g, b in further)]
