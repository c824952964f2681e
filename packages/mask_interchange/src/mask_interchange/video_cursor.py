"""Reading the frames of a video file in any order, with a decoder that stays open."""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import Protocol

import av
import numpy as np
from numpy.typing import NDArray

from mask_interchange.errors import DatasetError
from mask_interchange.video_stream import Damage, Threads, following, opened, packets, readable

SEEKS = 4  # tries to land at a key frame or before it


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

    @property
    def threads(self) -> Threads:
        """Those of a decoder, see `video_stream.opened`."""
        ...

    def agrees(self, i: int, frame: av.VideoFrame) -> bool:
        """Whether a frame that was found behind a key frame is frame `i`."""
        ...


class PacketOrder:
    """The frames of a file as its packets promise them: known without decoding, and wrong where packets hold no frame.

    Args:
        path: the file. All of it is read.
        threads: those of a decoder, see `video_stream.opened`.

    Attributes:
        stamps: time stamp of each frame, in ticks; none where the file does not tell them.
        key_frames, unreachable, threads: as in `FrameOrder`.
    """

    def __init__(self, path: Path, threads: Threads):
        self.unreachable: set[int] = set()
        self.threads: Threads = threads
        with opened(path) as (container, stream):
            found = [
                (packet.pts, packet.is_keyframe)
                for packet in packets(container, stream, Damage())
                if packet.size and not packet.is_discard
            ]
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
        self._container, self._stream = self._open.enter_context(opened(self._path, self._order.threads))
        self._frames = following(self._container, self._stream, Damage())

    def _seek(self, key_frame: int) -> None:
        """Go on from a key frame, or from where seeking leads before it.

        FFmpeg may land on an earlier one. In transport streams with B-frames it lands behind it; from the stamp of the
        one before, it does not.
        """
        wanted = self._order.stamps[key_frame]
        assert wanted is not None  # of a key frame
        self._start = self.next = key_frame
        self._frames = iter(())
        for stamp in self._stamps_before(key_frame):
            with readable(self._path):
                self._container.seek(stamp, stream=self._stream, backward=True)
                frames = following(self._container, self._stream, Damage())
                for frame in frames:
                    if frame.pts == wanted:
                        self._frames = chain((frame,), frames)
                        return
                    if frame.pts is None or frame.pts > wanted:
                        break

    def _stamps_before(self, key_frame: int) -> Iterator[int]:
        """Time stamps to seek to for a key frame: its own, and those of a few before it."""
        last = bisect_right(self._order.key_frames, key_frame) - 1
        for k in range(last, max(last - SEEKS, -1), -1):
            if (stamp := self._order.stamps[self._order.key_frames[k]]) is not None:
                yield stamp

    def _following(self) -> av.VideoFrame | None:
        """The next frame; None if there is none, or it is another one than it should be."""
        with readable(self._path):
            frame = next(self._frames, None)
        is_right = frame is None or self._start == 0 or self._order.agrees(self.next, frame)
        return frame if is_right else None

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
                try:
                    self._read_to(i, self._cursor)
                except BaseException:  # the next call opens the file anew
                    self._cursor.close()
                    self._cursor = None
                    raise
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
