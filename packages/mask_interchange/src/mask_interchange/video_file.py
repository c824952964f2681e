"""Frames of a video file, through FFmpeg (PyAV).

Headers lie about frame counts and rates, so only decoding counts: the first use decodes the file once and notes every
frame's time stamp and checksum. To read one frame later, the decoder seeks to a key frame before it. If that gives
other frames than the first pass (broken indices, open groups of pictures), the file is decoded from its start.
"""

import zlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.stream import VideoStream
from numpy.typing import NDArray

from mask_interchange.errors import DatasetError, MaskInterchangeError
from mask_interchange.faults import Fault, FaultKind
from mask_interchange.files import file_sha256, open_regular
from mask_interchange.rle import MAX_PIXELS, Size, check_size

CACHE_BYTES = 256 * 2**20  # decoded frames kept for random access, one at least

# Demuxers that show text as pictures or read other files than the one given.
_NOT_A_VIDEO = frozenset({"tty", "ansi", "concat", "concatf", "hls", "dash", "imf", "image2", "lavfi"})

# A file object and no protocols: a playlist in disguise cannot make FFmpeg open anything else.
_CAREFUL: dict[str, Any] = {"options": {"protocol_whitelist": "none"}}
if int(av.__version__.split(".")[0]) < 19:
    _CAREFUL["metadata_errors"] = "replace"  # titles are often not UTF-8; PyAV 19 accepts that by itself


@dataclass(frozen=True, slots=True)
class _Index:
    """What the first pass saw: per frame its time stamp and checksum; the key frames; the size after rotation."""

    tick: Fraction | None
    stamps: tuple[int | None, ...]
    checksums: tuple[int, ...]
    key_frames: tuple[int, ...]
    size: Size


class VideoFile:
    """All frames of a file's video stream, in order of display, turned and mirrored as the file says."""

    def __init__(self, path: Path):
        self._path = path
        self._cache: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        with self._opened():
            pass  # reports at once a file that is no video

    @property
    def frame_names(self) -> tuple[str, ...]:
        """Frame numbers with at least five digits."""
        return tuple(f"{i:05d}" for i in range(len(self._index.stamps)))

    @property
    def size(self) -> Size:
        """(H, W) after rotation."""
        return self._index.size

    @property
    def times(self) -> tuple[Fraction | None, ...]:
        """Seconds at which each frame is shown, as the file says; None where it does not."""
        tick = self._index.tick
        return tuple(None if stamp is None or tick is None else stamp * tick for stamp in self._index.stamps)

    def read(self, i: int) -> NDArray[np.uint8]:
        """Frame `i` as RGB uint8 [H, W, 3]."""
        if i not in self._cache:
            start = max((k for k in self._index.key_frames if k <= i), default=0)
            if not (start > 0 and self._fill_cache(start, i)):
                self._fill_cache(0, i)
        return self._cache[i].copy()

    def frames(self, start: int, stop: int) -> Iterator[NDArray[np.uint8]]:
        """Frames start..stop-1 in order, decoded once and not kept."""
        for i, frame in enumerate(self._decoded()):
            if i >= stop:
                return
            if i >= start:
                yield self._pixels(frame, i)

    def faults(self, *, decode: bool) -> Iterator[Fault]:
        """Why the file cannot be decoded, if it cannot; to know that, it is decoded in any case."""
        try:
            _ = self._index
        except DatasetError as error:
            yield Fault(kind=FaultKind.UNREADABLE, message=str(error))

    def fingerprint(self) -> str:
        """SHA-256 of the file."""
        return file_sha256(self._path)

    @cached_property
    def _index(self) -> _Index:
        stamps: list[int | None] = []
        checksums: list[int] = []
        key_frames: list[int] = []
        size: Size | None = None
        tick: Fraction | None = None
        for i, frame in enumerate(self._decoded()):
            tick = frame.time_base
            shown = _shown_size(frame)
            if size is None:
                size = self._sound_size(shown)
            self._check_size(shown, size, i)
            stamps.append(frame.pts)
            checksums.append(_checksum(frame))
            if frame.key_frame and frame.pts is not None:
                key_frames.append(i)
        if size is None:
            raise DatasetError(f"{self._path}: no frame could be decoded; is the file complete?")
        return _Index(tick, tuple(stamps), tuple(checksums), tuple(key_frames), size)

    def _fill_cache(self, start: int, stop: int) -> bool:
        """Decode frames start..stop into the cache; False if seeking to `start` led somewhere else."""
        index = self._index
        wanted = start
        for frame in self._decoded(index.stamps[start] if start else None):
            if wanted == start and start and frame.pts != index.stamps[start]:
                continue  # FFmpeg may land on an earlier key frame
            if start and _checksum(frame) != index.checksums[wanted]:
                return False
            self._keep(wanted, self._pixels(frame, wanted))
            if wanted == stop:
                return True
            wanted += 1
        if start == 0:
            raise DatasetError(f"{self._path}: frame {stop} is missing; was the file changed while it was read?")
        return False

    def _keep(self, i: int, frame: NDArray[np.uint8]) -> None:
        self._cache[i] = frame
        self._cache.move_to_end(i)
        while len(self._cache) > max(1, CACHE_BYTES // frame.nbytes):
            self._cache.popitem(last=False)

    def _pixels(self, frame: av.VideoFrame, i: int) -> NDArray[np.uint8]:
        self._check_size(_shown_size(frame), self.size, i)
        pixels = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
        return np.ascontiguousarray(_orientation(frame).applied(pixels))

    def _decoded(self, seek_to: int | None = None) -> Iterator[av.VideoFrame]:
        """The decoder's frames from the start, or from a key frame at or before a time stamp."""
        with self._opened() as (container, stream):
            if seek_to is not None:
                container.seek(seek_to, stream=stream, backward=True)
            yield from container.decode(stream)

    @contextmanager
    def _opened(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        try:
            with open_regular(self._path) as file, av.open(file, "r", **_CAREFUL) as container:
                if _NOT_A_VIDEO & set(container.format.name.split(",")) or not container.streams.video:
                    raise DatasetError(f"{self._path}: expected a video, found {container.format.long_name}")
                stream = self._shown_stream(container)
                if stream.codec_context is None:
                    raise DatasetError(
                        f"{self._path}: the video is coded in a way that FFmpeg cannot decode; convert it"
                    )
                stream.thread_type = "AUTO"
                stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
                yield container, stream
        except (OSError, FFmpegError) as error:
            raise DatasetError(
                f"{self._path}: not a readable video: {error.strerror or error}; play it to see whether it is complete"
            ) from error

    def _shown_stream(self, container: InputContainer) -> VideoStream:
        """The stream that players show: the first one that is not a picture of the cover."""
        for stream in container.streams.video:
            if not stream.disposition & Disposition.attached_pic:
                return stream
        raise DatasetError(f"{self._path}: expected a video, found only a picture of the cover")

    def _sound_size(self, size: Size) -> Size:
        try:
            return check_size(size)
        except MaskInterchangeError as error:
            raise DatasetError(f"{self._path}: {error}") from error

    def _check_size(self, size: Size, expected: Size, i: int) -> None:
        if size != expected:
            raise DatasetError(
                f"{self._path}: expected {expected[1]}x{expected[0]} pixels as in the first frame, found "
                f"{size[1]}x{size[0]} in frame {i}; all frames of a video must have one size"
            )


@dataclass(frozen=True, slots=True)
class _Orientation:
    """How a stored frame is turned and mirrored to be shown: first rows and columns change places, then they flip."""

    transposed: bool = False
    flipped_vertically: bool = False
    flipped_horizontally: bool = False

    def applied(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A view of `pixels` [H, W, 3] as it is shown."""
        if self.transposed:
            pixels = pixels.swapaxes(0, 1)
        return pixels[:: -1 if self.flipped_vertically else 1, :: -1 if self.flipped_horizontally else 1]


def _orientation(frame: av.VideoFrame) -> _Orientation:
    """The nearest of the eight orientations to the file's display matrix.

    The matrix maps stored to shown places: x' = a x + c y and y' = b x + d y, with a, b, c and d in its places 0, 1, 3
    and 4. Source: documentation of FFmpeg's libavutil/display.h.
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return _Orientation()
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    if abs(a) >= abs(b):
        return _Orientation(False, flipped_vertically=d < 0, flipped_horizontally=a < 0)
    return _Orientation(True, flipped_vertically=b < 0, flipped_horizontally=c < 0)


def _shown_size(frame: av.VideoFrame) -> Size:
    return (frame.width, frame.height) if _orientation(frame).transposed else (frame.height, frame.width)


def _checksum(frame: av.VideoFrame) -> int:
    total = 0
    for plane in frame.planes:
        total = zlib.crc32(plane, total)
    return total
