"""Random numbers that are equal on every machine.

numpy keeps the raw bits of its bit generators from version to version, but not what `Generator` makes of them (NEP 19).
So this module takes raw bits only and goes on with integer arithmetic.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item")


class RandomStream:
    """A stream of random integers that depends on the key alone.

    Args:
        key: non-negative integers; different keys give independent streams.
    """

    def __init__(self, *key: int):
        self._bits = np.random.PCG64(np.random.SeedSequence(key))

    def below(self, count: int) -> int:
        """An integer from 0 to count - 1."""
        return int(self._bits.random_raw()) % count  # 64 bits: no value is favoured by more than count / 2**64

    def between(self, low: int, high: int) -> int:
        """An integer from `low` to `high`, both included."""
        return low + self.below(high - low + 1)

    def chance(self, percent: int) -> bool:
        """True with a probability of `percent` in a hundred."""
        return self.below(100) < percent

    def choice(self, items: Sequence[Item]) -> Item:
        """One of the items; an item that is listed twice comes twice as often."""
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        """The items in random order."""
        rest = list(items)
        return [rest.pop(self.below(len(rest))) for _ in items]

    def bytes(self, *shape: int) -> NDArray[np.uint8]:
        """An array of this shape, every value from 0 to 255 equally likely."""
        count = int(np.prod(shape))
        words = np.asarray(self._bits.random_raw(-(-count // 8)), np.uint64)
        return words.astype("<u8").view(np.uint8)[:count].reshape(shape)
