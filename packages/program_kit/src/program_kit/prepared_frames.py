"""Frames that a thread reads and prepares before a network asks for them, also the first ones of the next video."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from program_kit.frame_reading import FeatureCache, Features, FrameReader
from program_kit.propagator import Frames

T = TypeVar("T")
FRAMES_AHEAD = 2  # that are read while the network works on one
FIRST_FRAMES = 8  # of the next video that are held while one is worked on


class PreparedFrames(Generic[T]):
    """Frames of one video, read and prepared in the order in which they are requested.

    Args:
        video: its frames.
        prepare: makes of a frame uint8 [H, W, 3] what a network wants; called by a thread.
    """

    def __init__(self, video: Frames, prepare: Callable[[NDArray[np.uint8]], T]):
        self.video = video
        self._reader = FrameReader(video)
        self._prepare = prepare
        self._thread = ThreadPoolExecutor(1)
        self._frames: dict[int, Future[T]] = {}

    def request(self, frames: Iterable[int]) -> None:
        """Begin to prepare frames that will be asked for; each is held until it is dropped."""
        for frame in frames:
            if frame not in self._frames:
                self._frames[frame] = self._thread.submit(self._make, frame)

    def get(self, frame: int) -> T:
        """A frame, as soon as it is prepared.

        Raises:
            Exception: whatever reading or preparing it raised.
        """
        self.request([frame])
        return self._frames[frame].result()

    def drop(self, frame: int) -> None:
        """Forget a frame, if it is held."""
        self._frames.pop(frame, None)

    def _make(self, frame: int) -> T:
        return self._prepare(self._reader.read(frame))


class EncodedFrames(Generic[Features]):
    """Features of the frames of one video, one frame after the other.

    Args:
        video: its frames are read by a thread, some before they are needed.
        cache_bytes: budget for features that may be needed again.
        encode: the features of a frame uint8 [H, W, 3].
    """

    def __init__(self, video: Frames, cache_bytes: int, encode: Callable[[NDArray[np.uint8]], Features]):
        self.images: PreparedFrames[NDArray[np.uint8]] = PreparedFrames(video, lambda frame: frame)
        self.cache: FeatureCache[Features] = FeatureCache(cache_bytes)
        self._encode = encode

    def get(self, frame: int, coming: Iterable[int] = ()) -> Features:
        """The features of a frame, computed or remembered; `coming` are the frames that are asked for next."""

        def compute() -> Features:
            missing = (other for other in coming if other not in self.cache)
            self.images.request((frame, *islice(missing, FRAMES_AHEAD)))
            features = self._encode(self.images.get(frame))
            self.images.drop(frame)
            return features

        return self.cache.get(frame, compute)


class PreparesFrames(Protocol):
    """What a propagator reads a video with."""

    @property
    def images(self) -> PreparedFrames:
        """Its frames, as the network wants them."""
        ...


R = TypeVar("R", bound=PreparesFrames)


class NextVideo(Generic[R]):
    """Begins to read a video while another one is worked on.

    Args:
        make: what a video is read with; called by a thread as well.
    """

    def __init__(self, make: Callable[[Frames], R]):
        self._make = make
        self._thread = ThreadPoolExecutor(1)
        self._expected: Future[R] | None = None

    def expect(self, begin: Callable[[], tuple[Frames, int]]) -> None:
        """Begin to read the video that `reader` is asked for next.

        Args:
            begin: gives its frames, and the first one that the network will want; called by a thread.
        """
        self._expected = self._thread.submit(self._begun, begin)

    def reader(self, video: Frames) -> R:
        """What a video is read with; what was expected in its place is dropped, and so are faults in it."""
        expected, self._expected = self._expected, None
        if expected is not None and expected.exception() is None and expected.result().images.video == video:
            return expected.result()
        return self._make(video)

    def _begun(self, begin: Callable[[], tuple[Frames, int]]) -> R:
        video, first = begin()
        reader = self._make(video)
        reader.images.request(range(first, min(first + FIRST_FRAMES, len(video))))
        return reader
