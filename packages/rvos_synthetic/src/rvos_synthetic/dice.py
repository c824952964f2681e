"""Chance that falls the same way everywhere.

From version to version numpy keeps the raw bits of its bit generators, but not what `Generator` makes of them (NEP 19).
So only raw bits are taken, and all that follows is arithmetic on integers.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item")


class Dice:
    """A stream of integers that depends on the key alone.

    Args:
        key: non-negative integers; other keys give streams that have nothing in common.
    """

    def __init__(self, *key: int):
        self._bits = np.random.PCG64(np.random.SeedSequence(key))

    def below(self, count: int) -> int:
        """An integer from 0 to count - 1."""
        return int(self._bits.random_raw()) % count  # 64 bits: no value is favoured by more than count / 2**64

    def between(self, low: int, high: int) -> int:
        """An integer from `low` to `high`, both possible."""
        return low + self.below(high - low + 1)

    def chance(self, percent: int) -> bool:
        """True `percent` times in a hundred."""
        return self.below(100) < percent

    def one_of(self, items: Sequence[Item]) -> Item:
        """Any of the items; one that stands there twice comes twice as often."""
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        """The items in any order."""
        rest = list(items)
        return [rest.pop(self.below(len(rest))) for _ in items]

    def bytes(self, *shape: int) -> NDArray[np.uint8]:
        """An array of this shape, every value from 0 to 255 equally likely."""
        count = int(np.prod(shape))
        words = np.asarray(self._bits.random_raw(-(-count // 8)), np.uint64)
        return words.astype("<u8").view(np.uint8)[:count].reshape(shape)
