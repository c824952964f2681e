"""Frames in the order in which a network wants them, and what it made of them."""

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Generic, Protocol, TypeVar

import numpy as np
from mask_interchange.video import Video
from numpy.typing import NDArray

from program_kit.errors import InputError
from program_kit.propagator import Frames

T = TypeVar("T")
SKIPPED = 16  # most frames that a pass decodes in vain; past that a new pass begins


def read_ahead(items: Iterable[T], count: int = 1) -> Iterator[T]:
    """The items in order, made by a thread while the caller works on earlier ones; it begins at once.

    Args:
        items: only this thread asks for them from now on. An error is raised in the place of its item.
        count: how many may wait for the caller.
    """
    rest, end = iter(items), object()
    thread = ThreadPoolExecutor(1)
    waiting = deque(thread.submit(next, rest, end) for _ in range(count))

    def in_order() -> Iterator[T]:
        try:
            while (item := waiting.popleft().result()) is not end:
                waiting.append(thread.submit(next, rest, end))
                yield item  # pyright: ignore[reportReturnType] - not the end
        finally:
            thread.shutdown(cancel_futures=True)

    return in_order()


class AheadReader(Generic[T]):
    """Reads a video while another one is worked on.

    Args:
        read: gives what is read of a video, in order.
        count: how much of it is read before it is asked for.
    """

    def __init__(self, read: Callable[[Video], Iterable[T]], count: int):
        self._read = read
        self._count = count
        self._expected: tuple[Video, Iterator[T]] | None = None

    def expect(self, video: Video) -> None:
        """Begin to read the video that `read` is asked for next."""
        self._expected = video, read_ahead(self._read(video), self._count)

    def read(self, video: Video) -> Iterator[T]:
        """What is read of a video; what was expected in its place is dropped."""
        expected, self._expected = self._expected, None
        if expected is not None and expected[0] == video:
            return expected[1]
        return read_ahead(self._read(video), self._count)


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
