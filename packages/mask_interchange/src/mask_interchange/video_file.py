"""Frames of a video file.

Headers lie about frame counts and rates, so only decoding counts: the first pass decodes the file once and notes every
frame's time stamp and checksum. Reading a frame compares with them (`video_cursor`).
"""

from collections.abc import Iterator
from contextlib import closing, suppress
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
from mask_interchange.video_cursor import Cursor, PacketOrder, RandomAccess
from mask_interchange.video_index import Damaged, VideoIndex, check_same_size
from mask_interchange.video_stream import checksum, opened, orientation, shown_size, sound

CACHE_BYTES = 96 * 2**20  # decoded frames kept for random access, one at least


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
        self._known = RandomAccess(path, self.index, self._pixels, CACHE_BYTES)
        self._early: tuple[PacketOrder, RandomAccess] | None = None
        self._early_checksums: dict[int, int] = {}
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
        if len(self.index.grow(i + 1)) <= i:
            raise DatasetError(f"{self._path}: expected a frame from 0 to {len(self.index) - 1}, found {i}")
        return self._known.read(i)

    def read_early(self, i: int) -> NDArray[np.uint8]:
        """As `read`; where the index has not come yet, the frame that the file's packets promise, if they do.

        That is another one in odd files only; `keeps_promises` tells it afterwards.
        """
        if i >= len(self.index):
            with suppress(DatasetError):
                promised, access = self._as_promised()
                if i < len(promised.stamps):
                    return access.read(i)
        return self.read(i)

    def keeps_promises(self) -> bool:
        """Whether `read_early` gave the right frames; lets the index grow to its end."""
        checksums = self.index.grow().checksums
        return all(checksums[i : i + 1] == [found] for i, found in self._early_checksums.items())

    def _as_promised(self) -> tuple[PacketOrder, RandomAccess]:
        with self._lock:
            if self._early is None:
                promised = PacketOrder(self._path, self.index.threads)
                self._early = promised, RandomAccess(self._path, promised, self._early_pixels, CACHE_BYTES // 2)
            return self._early

    def _early_pixels(self, frame: av.VideoFrame, i: int) -> NDArray[np.uint8]:
        self._early_checksums[i] = checksum(frame)
        return self._pixels(frame, i)

    def frames(self, start: int, stop: int) -> Iterator[NDArray[np.uint8]]:
        """Frames start..stop-1 in order, decoded once and not kept."""
        with closing(Cursor(self._path, self.index)) as cursor:
            if len(self.index) >= stop:  # else it does not know where to seek
                cursor.go_to(start)
            wanted = start
            while wanted < stop:
                i, frame = cursor.read()
                if i == wanted:
                    yield self._pixels(frame, i)
                    wanted += 1

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

    def _pixels(self, frame: av.VideoFrame, i: int) -> NDArray[np.uint8]:
        check_same_size(self._path, shown_size(frame), self.size, i)
        pixels = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
        return np.ascontiguousarray(orientation(frame).applied(pixels))
