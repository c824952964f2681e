"""Frames of a video file.

Headers lie about frame counts and rates, so only decoding counts: the first pass decodes the file once and notes every
frame's time stamp and checksum. To read one frame, a decoder that stays open reads on from the last one, or seeks to a
key frame before it if that is nearer. If seeking gives other frames than the first pass (broken indices, open groups of
pictures), the file is decoded from its start.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from threading import Lock

import av
import numpy as np
from numpy.typing import NDArray

from mask_interchange.errors import DatasetError
from mask_interchange.faults import Fault, FaultKind
from mask_interchange.files import file_sha256
from mask_interchange.rle import Size
from mask_interchange.video_index import Damaged, VideoIndex, check_same_size
from mask_interchange.video_stream import checksum, decoded, opened, orientation, shown_size, sound

CACHE_BYTES = 256 * 2**20  # decoded frames kept for random access, one at least


class VideoFile:
    """All frames of a file's video stream, in order of display, turned and mirrored as the file says.

    Several threads may read frames while another one lets the index grow.

    Args:
        path: the file.
        damaged: `stop` makes a file with damaged or missing packets an error, `skip` takes what FFmpeg decodes.

    Attributes:
        index: what is known of the frames. Reading a frame needs it no further than to that frame; `frame_names`,
            `times` and `notes` need all of it, and let it grow to its end.
    """

    def __init__(self, path: Path, damaged: Damaged = "stop"):
        self._path = path
        self.index = VideoIndex(path, damaged)
        self._cache: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._cursor: _Cursor | None = None
        self._unreachable: set[int] = set()  # key frames to which seeking leads somewhere else
        self._lock = Lock()
        with opened(path):
            pass  # reports at once a file that is no video

    @property
    def frame_names(self) -> tuple[str, ...]:
        """Frame numbers with at least five digits."""
        return tuple(f"{i:05d}" for i in range(len(self.index.grow())))

    @property
    def size(self) -> Size:
        """(H, W) after rotation."""
        size = self.index.grow(1).size
        assert size is not None  # a file without a frame is an error
        return size

    @property
    def times(self) -> tuple[Fraction | None, ...]:
        """Seconds at which each frame is shown, as the file says; None where it does not."""
        index = self.index.grow()
        tick = index.tick
        return tuple(None if stamp is None or tick is None else stamp * tick for stamp in index.stamps)

    @property
    def pixel_aspect(self) -> Fraction:
        """Width of a pixel, divided by its height, after rotation."""
        return self.index.grow(1).pixel_aspect

    def notes(self) -> Iterator[str]:
        """What is damaged, if the user chose to skip it."""
        if damage := self.index.grow().damage:
            yield f"{self._path}: {damage}"

    def read(self, i: int) -> NDArray[np.uint8]:
        """Frame `i` as RGB uint8 [H, W, 3]."""
        with self._lock:
            if i not in self._cache:
                self._decode_to(i)
            return self._cache[i].copy()

    def frames(self, start: int, stop: int) -> Iterator[NDArray[np.uint8]]:
        """Frames start..stop-1 in order, decoded once and not kept."""
        for i, frame in enumerate(decoded(self._path)):
            if i >= stop:
                return
            if i >= start:
                yield self._pixels(frame, i)

    def sound(self) -> Iterator[av.AudioFrame]:
        """The first sound of the file, decoded frame by frame, without what is damaged; nothing if it is silent."""
        return sound(self._path)

    def faults(self, *, decode: bool) -> Iterator[Fault]:
        """Why the file cannot be decoded, if it cannot; to know that, it is decoded in any case."""
        try:
            self.index.grow()
        except DatasetError as error:
            yield Fault(kind=FaultKind.UNREADABLE, message=str(error))

    def fingerprint(self) -> str:
        """SHA-256 of the file."""
        return file_sha256(self._path)

    def _decode_to(self, i: int) -> None:
        """Let the cursor read up to frame `i`, and keep what the cache has room for."""
        if len(self.index.grow(i + 1)) <= i:
            raise DatasetError(f"{self._path}: expected a frame from 0 to {len(self.index) - 1}, found {i}")
        room = max(1, CACHE_BYTES // (3 * self.size[0] * self.size[1]))
        start = self._key_frame_before(i)
        if self._cursor is None or not start <= self._cursor.next <= i:
            self._cursor = self._moved(start)
        while (at := self._cursor.next) <= i:
            frame = self._cursor.read()
            if frame is not None:
                if i - at < room:
                    self._keep(at, self._pixels(frame, at), room)
            elif self._cursor.start > 0:
                self._unreachable.add(self._cursor.start)
                self._cursor = self._moved(0)
            else:
                self._cursor = None
                raise DatasetError(f"{self._path}: frame {i} is missing; was the file changed while it was read?")

    def _key_frame_before(self, i: int) -> int:
        """The last frame up to `i` from which decoding can start."""
        key_frames = self.index.key_frames
        before = (key_frames[k] for k in range(bisect_right(key_frames, i) - 1, -1, -1))
        return next((k for k in before if k not in self._unreachable), 0)

    def _moved(self, start: int) -> "_Cursor":
        if self._cursor is not None:
            self._cursor.close()
        return _Cursor(self._path, self.index, start)

    def _keep(self, i: int, frame: NDArray[np.uint8], room: int) -> None:
        self._cache[i] = frame
        self._cache.move_to_end(i)
        while len(self._cache) > room:
            self._cache.popitem(last=False)

    def _pixels(self, frame: av.VideoFrame, i: int) -> NDArray[np.uint8]:
        check_same_size(self._path, shown_size(frame), self.size, i)
        pixels = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
        return np.ascontiguousarray(orientation(frame).applied(pixels))


class _Cursor:
    """A decoder that stays open and reads one frame after another.

    Attributes:
        start: where it began: 0, or a key frame. Frames behind a key frame are compared with the index.
        next: the frame that it reads next.
    """

    def __init__(self, path: Path, index: VideoIndex, start: int):
        self.start = self.next = start
        self._index = index
        self._frames = decoded(path, index.stamps[start] if start else None)

    def read(self) -> av.VideoFrame | None:
        """The next frame; None if there is none, or it is not the one that the index knows."""
        for frame in self._frames:
            if self.start and self.next == self.start and frame.pts != self._index.stamps[self.start]:
                continue  # FFmpeg may land on an earlier key frame
            if self.start and checksum(frame) != self._index.checksums[self.next]:
                return None
            self.next += 1
            return frame
        return None

    def close(self) -> None:
        """Close the file."""
        self._frames.close()
