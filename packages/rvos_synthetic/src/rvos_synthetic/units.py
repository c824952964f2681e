"""The units of a scene, all integers, so that no result depends on how a machine rounds.

- length: UNIT is the height of the picture; x to the right and y down from the upper left corner
- angle: TURN is a full turn
- time: from 0 to LONG, for any number of frames
- ratio: UNIT is 1
"""

UNIT = 1024
TURN = 4096
LONG = 4096


def sine(angle: int) -> int:
    """The sine of an angle as a ratio, from -UNIT to UNIT; the error is less than two thousandths.

    Bhaskara's rational approximation, which needs integers only.
    """
    half = TURN // 2
    angle %= TURN
    sign, x = (1, angle) if angle < half else (-1, angle - half)
    product = x * (half - x)
    return sign * (16 * product * UNIT // (5 * half * half - 4 * product))


def cosine(angle: int) -> int:
    """The cosine of an angle, as `sine`."""
    return sine(angle + TURN // 4)


def frame_time(frame: int, count: int) -> int:
    """The time of frame `frame` of `count`: the middle of its share of the video."""
    return (2 * frame + 1) * LONG // (2 * count)
