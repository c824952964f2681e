"""Reading the frames of a video file in any order, with a decoder that stays open."""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from typing import Protocol

import av
import numpy as np
from numpy.typing import NDArray

from mask_interchange.errors import DatasetError
from mask_interchange.video_stream import Damage, following, opened, readable


class FrameOrder(Protocol):
    """What a cursor has to know of the frames of a file, as far as they are known."""

    @property
    def stamps(self) -> Sequence[int | None]:
        """Time stamp of each frame, in ticks."""
        ...

    @property
    def key_frames(self) -> Sequence[int]:
        """Numbers of the frames to which a decoder can seek, in ascending order."""
        ...

    @property
    def unreachable(self) -> set[int]:
        """Those of them to which seeking turned out to lead somewhere else; the cursor adds to it."""
        ...

    def agrees(self, i: int, frame: av.VideoFrame) -> bool:
        """Whether a frame that was found behind a key frame is frame `i`."""
        ...


class PacketOrder:
    """The frames of a file as its packets promise them: known without decoding, and wrong where packets hold no frame.

    Args:
        path: the file. All of it is read.

    Attributes:
        stamps: time stamp of each frame, in ticks; none where the file does not tell them.
        key_frames, unreachable: as in `FrameOrder`.
    """

    def __init__(self, path: Path):
        self.unreachable: set[int] = set()
        with opened(path) as (container, stream):
            packets = (packet for packet in container.demux(stream) if packet.size and not packet.is_discard)
            found = [(packet.pts, packet.is_keyframe) for packet in packets]
        is_key = {stamp: key for stamp, key in found if stamp is not None}
        self.stamps = sorted(is_key) if len(is_key) == len(found) else []
        self.key_frames = [i for i, stamp in enumerate(self.stamps) if is_key[stamp]]

    def agrees(self, i: int, frame: av.VideoFrame) -> bool:
        """Whether a frame is the one that a packet promises as frame `i`."""
        return frame.pts == self.stamps[i]


class Cursor:
    """Reads the frames of a file on from a place. If seeking gives other frames than those that are known (broken
    indices, open groups of pictures), it begins again at the start of the file.

    Args:
        path: the file.
        order: of its frames.

    Attributes:
        next: number of the frame that it reads next.
    """

    def __init__(self, path: Path, order: FrameOrder):
        self.next = 0
        self._start = 0  # frames behind a key frame are compared with what is known of them
        self._path = path
        self._order = order
        self._open = ExitStack()
        self._begin()

    def go_to(self, i: int) -> None:
        """Be at frame `i` or before it, where reading on leads to it soonest."""
        key_frame = self._key_frame_before(i)
        if key_frame <= self.next <= i:
            return
        if key_frame == 0:
            self._begin()
        else:
            self._seek(key_frame)

    def read(self) -> tuple[int, av.VideoFrame]:
        """A frame and its number: the next one, or the first of the file where seeking turns out to have failed.

        Raises:
            DatasetError: there is none, or the file cannot be read.
        """
        frame = self._following()
        if frame is None and self._start > 0:
            self._order.unreachable.add(self._start)
            self._begin()
            frame = self._following()
        if frame is None:
            raise DatasetError(f"{self._path}: frame {self.next} is missing; was the file changed while it was read?")
        self.next += 1
        return self.next - 1, frame

    def close(self) -> None:
        """Close the file."""
        self._open.close()

    def _begin(self) -> None:
        """Open the file anew: seeking to its start may lead somewhere else."""
        self.close()
        self._start = self.next = 0
        self._frames: Iterator[av.VideoFrame] = iter(())  # if it cannot be opened
        self._container, self._stream = self._open.enter_context(opened(self._path))
        self._frames = following(self._container, self._stream, Damage())

    def _seek(self, key_frame: int) -> None:
        stamp = self._order.stamps[key_frame]
        assert stamp is not None  # of a key frame
        with readable(self._path):
            self._container.seek(stamp, stream=self._stream, backward=True)
        self._frames = following(self._container, self._stream, Damage())
        self._start = self.next = key_frame

    def _following(self) -> av.VideoFrame | None:
        """The next frame; None if there is none, or it is another one than it should be."""
        with readable(self._path):
            for frame in self._frames:
                if self._start == 0:
                    return frame
                if self.next == self._start and frame.pts != self._order.stamps[self._start]:
                    continue  # FFmpeg may land on an earlier key frame
                return frame if self._order.agrees(self.next, frame) else None
        return None

    def _key_frame_before(self, i: int) -> int:
        """The last frame up to `i` from which decoding can start."""
        key_frames = self._order.key_frames
        before = (key_frames[k] for k in range(bisect_right(key_frames, i) - 1, -1, -1))
        return next((k for k in before if k not in self._order.unreachable), 0)


class RandomAccess:
    """Reads frames by their numbers and keeps the last ones that it read. Several threads may use it.

    Args:
        path: the file.
        order: of its frames.
        pixels: turns a frame and its number into RGB uint8 [H, W, 3].
        limit: bytes of the frames that are kept, one at least.
    """

    def __init__(
        self, path: Path, order: FrameOrder, pixels: Callable[[av.VideoFrame, int], NDArray[np.uint8]], limit: int
    ):
        self._path = path
        self._order = order
        self._pixels = pixels
        self._limit = limit
        self._cursor: Cursor | None = None
        self._kept: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._lock = Lock()

    def read(self, i: int) -> NDArray[np.uint8]:
        """Frame `i`, which the order knows.

        Raises:
            DatasetError: it is not in the file, or the file cannot be read.
        """
        with self._lock:
            if i not in self._kept:
                self._cursor = self._cursor or Cursor(self._path, self._order)
                self._read_to(i, self._cursor)
            return self._kept[i].copy()

    def _read_to(self, i: int, cursor: Cursor) -> None:
        cursor.go_to(i)
        while cursor.next <= i:
            at, frame = cursor.read()
            room = max(1, self._limit // (3 * frame.width * frame.height))
            if i - at < room:
                self._kept[at] = self._pixels(frame, at)
                self._kept.move_to_end(at)
            while len(self._kept) > room:
                self._kept.popitem(last=False)
