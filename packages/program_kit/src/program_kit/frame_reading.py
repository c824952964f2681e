"""Frames in the order in which a network wants them, and what it made of them."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from itertools import islice
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from program_kit.errors import InputError
from program_kit.propagator import Frames

SKIPPED = 16  # most frames that a pass decodes in vain; past that a new pass begins


class FrameReader:
    """Reads single frames. Consecutive ones come from one pass over the video: random access is slow in a file."""

    def __init__(self, video: Frames):
        self._video = video
        self._pass: Iterator[NDArray[np.uint8]] = iter(())
        self._next = len(video)  # frame that the pass gives next
        self._last = -1  # frame that was read last

    def read(self, index: int) -> NDArray[np.uint8]:
        """Frame `index` as RGB uint8 [H, W, 3].

        Raises:
            InputError: the video ends before that frame.
        """
        forwards, self._last = index == self._last + 1, index
        if not self._next <= index <= self._next + SKIPPED:
            if not forwards:
                return self._video.read_frame(index)
            self._next, self._pass = index, self._video.frames(index)
        image = next(islice(self._pass, index - self._next, None), None)
        self._next = index + 1
        if image is None:
            raise InputError(f"the video has {len(self._video)} frames by its own count, but ends before frame {index}")
        return image


class Sized(Protocol):
    """Features of a frame."""

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        ...


Features = TypeVar("Features", bound=Sized)


class FeatureCache(Generic[Features]):
    """Features within a budget of bytes, least recently used first out; dropped ones are computed again when needed.

    A sweep back begins at the frames that the sweep forwards ended with, so the least recently used are needed last.

    Args:
        budget: bytes.
    """

    def __init__(self, budget: int):
        self.budget = budget
        self._kept: OrderedDict[Hashable, Features] = OrderedDict()
        self._bytes = 0

    def __contains__(self, key: Hashable) -> bool:
        return key in self._kept

    def get(self, key: Hashable, compute: Callable[[], Features]) -> Features:
        """The features of `key`, from the cache or from `compute`."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        features = compute()
        self._kept[key] = features
        self._bytes += features.nbytes
        while self._bytes > self.budget:
            self.drop(next(iter(self._kept)))
        return features

    def drop(self, key: Hashable) -> None:
        """Forget the features of `key`, if they are kept."""
        if key in self._kept:
            self._bytes -= self._kept.pop(key).nbytes
