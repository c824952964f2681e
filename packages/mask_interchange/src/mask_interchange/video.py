"""A video: its expressions, and where its frames come from."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from mask_interchange.errors import DatasetError
from mask_interchange.faults import Fault
from mask_interchange.names import check_name
from mask_interchange.rle import Size
from mask_interchange.track import Expression, check_unique

V = TypeVar("V")


class FrameSource(Protocol):
    """Where a video's frames come from. It raises DatasetErrors; the video adds its id to them."""

    @property
    def frame_names(self) -> tuple[str, ...]:
        """Names of all frames in order."""
        ...

    @property
    def size(self) -> Size:
        """(H, W) of the first frame."""
        ...

    def read(self, i: int) -> NDArray[np.uint8]:
        """Frame `i` as RGB uint8 [H, W, 3]."""
        ...

    def frames(self, start: int, stop: int) -> Iterator[NDArray[np.uint8]]:
        """Frames start..stop-1 in order."""
        ...

    def notes(self) -> Iterator[str]:
        """What a user should know of the frames, although it stops nothing."""
        ...

    def faults(self, *, decode: bool) -> Iterator[Fault]:
        """Everything that would go wrong; without `decode`, only what the headers of images show."""
        ...

    def fingerprint(self) -> str:
        """SHA-256 of the content, in hexadecimal."""
        ...


@dataclass(frozen=True, kw_only=True)
class Video:
    """A video and its expressions.

    Attributes:
        id: name of the video, safe as a part of a path.
        expressions: with unique ids; may be empty.
        source: where the frames are.
    """

    id: str
    expressions: tuple[Expression, ...]
    source: FrameSource

    def __post_init__(self):
        check_name("video", self.id)
        check_unique("expression", tuple(expression.id for expression in self.expressions))

    @property
    def frame_names(self) -> tuple[str, ...]:
        """Names of the frames in order; a video file is decoded once to count them."""
        return self._explained(lambda: self.source.frame_names)

    @property
    def size(self) -> Size:
        """(H, W) in pixels, from the first frame."""
        return self._explained(lambda: self.source.size)

    def __len__(self) -> int:
        return len(self.frame_names)

    def read_frame(self, i: int) -> NDArray[np.uint8]:
        """Frame `i` (0 to T-1) as RGB uint8 [H, W, 3].

        Raises:
            DatasetError: the frame is missing, unreadable or not of the video's size; says which and what to do.
        """
        if not 0 <= i < len(self):
            raise IndexError(f"video {self.id!r}: expected a frame from 0 to {len(self) - 1}, found {i}")
        return self._explained(lambda: self.source.read(i))

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[NDArray[np.uint8]]:
        """Frames start..stop-1 in order, as `read_frame` gives them, one in memory at a time."""
        frames = self.source.frames(start, len(self) if stop is None else min(stop, len(self)))
        while (frame := self._explained(lambda: next(frames, None))) is not None:
            yield frame

    def check(self, *, decode: bool = False) -> list[Fault]:
        """Every fault of the frames: missing, unreadable, of another size.

        Args:
            decode: read images as a whole, not only their headers, which may be sound where the rest is cut off.
        """
        faults = self._explained(lambda: list(self.source.faults(decode=decode)))
        return [replace(fault, message=f"video {self.id!r}: {fault}") for fault in faults]

    def notes(self) -> list[str]:
        """What a user should know of the frames, although it stops nothing."""
        return [f"video {self.id!r}: {note}" for note in self._explained(lambda: list(self.source.notes()))]

    def fingerprint(self) -> str:
        """SHA-256 of the frames' files, in hexadecimal."""
        return self._explained(self.source.fingerprint)

    def _explained(self, read: Callable[[], V]) -> V:
        try:
            return read()
        except (DatasetError, OSError) as error:
            raise DatasetError(f"video {self.id!r}: {error}") from error
