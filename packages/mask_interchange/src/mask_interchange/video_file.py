"""Frames of a video file, through FFmpeg (PyAV).

Headers lie about frame counts and rates, so only decoding counts: the first use decodes the file once and notes every
frame's time stamp and checksum. To read one frame later, the decoder seeks to a key frame before it. If that gives
other frames than the first pass (broken indices, open groups of pictures), the file is decoded from its start.
"""

import re
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

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

_MATROSKA_DURATION = re.compile(r"([0-9]{1,4}):([0-9]{2}):([0-9]{2}(?:\.[0-9]{1,9})?)")

Damaged = Literal["stop", "skip"]
V = TypeVar("V")
CACHE_BYTES = 256 * 2**20  # decoded frames kept for random access, one at least

# Demuxers that show text as pictures or read other files than the one given.
_NOT_A_VIDEO = frozenset({"tty", "ansi", "concat", "concatf", "hls", "dash", "imf", "image2", "lavfi"})

# A file object and no protocols: a playlist in disguise cannot make FFmpeg open anything else.
_CAREFUL: dict[str, Any] = {"options": {"protocol_whitelist": "none"}}
if int(av.__version__.split(".")[0]) < 19:
    _CAREFUL["metadata_errors"] = "replace"  # titles are often not UTF-8; PyAV 19 accepts that by itself


@dataclass(frozen=True, slots=True)
class _Index:
    """What the first pass saw: per frame its time stamp and checksum; the key frames; size and shape of pixels after
    rotation; what was damaged."""

    tick: Fraction | None
    stamps: tuple[int | None, ...]
    checksums: tuple[int, ...]
    key_frames: tuple[int, ...]
    size: Size
    pixel_aspect: Fraction
    damage: str | None


class VideoFile:
    """All frames of a file's video stream, in order of display, turned and mirrored as the file says.

    Args:
        path: the file.
        damaged: `stop` makes a file with damaged or missing packets an error, `skip` takes what FFmpeg decodes.
    """

    def __init__(self, path: Path, damaged: Damaged = "stop"):
        self._path = path
        self._damaged: Damaged = damaged
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

    @property
    def pixel_aspect(self) -> Fraction:
        """Width of a pixel, divided by its height, after rotation."""
        return self._index.pixel_aspect

    def notes(self) -> Iterator[str]:
        """What is damaged, if the user chose to skip it."""
        if damage := self._index.damage:
            yield f"{self._path}: {damage}"

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
        pixel_aspect = Fraction(1)
        damage = _Damage()
        for i, frame in enumerate(self._decoded(damage=damage)):
            tick = frame.time_base
            shown = _shown_size(frame)
            if size is None:
                size = self._sound_size(shown)
                pixel_aspect = self._pixel_aspect(_orientation(frame))
            self._check_size(shown, size, i)
            stamps.append(frame.pts)
            checksums.append(_checksum(frame))
            if frame.key_frame and frame.pts is not None:
                key_frames.append(i)
        if size is None:
            raise DatasetError(f"{self._path}: no frame could be decoded; is the file complete?")
        said = damage.described(len(stamps))
        if said and self._damaged == "stop":
            raise DatasetError(f"{self._path}: {said}; restore the file, or go on without them: --damaged skip")
        return _Index(tick, tuple(stamps), tuple(checksums), tuple(key_frames), size, pixel_aspect, said)

    def _pixel_aspect(self, orientation: "_Orientation") -> Fraction:
        with self._opened() as (_, stream):
            aspect = stream.sample_aspect_ratio or Fraction(1)
        return 1 / aspect if orientation.transposed else aspect

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

    def _decoded(self, seek_to: int | None = None, damage: "_Damage | None" = None) -> Iterator[av.VideoFrame]:
        """The decoder's frames from the start, or from a key frame at or before a time stamp; notes what is lost."""
        damage = damage or _Damage()
        with self._opened() as (container, stream):
            if seek_to is not None:
                container.seek(seek_to, stream=stream, backward=True)
            packets = container.demux(stream)
            while (packet := damage.attempt(lambda: next(packets, None))) is not None:
                damage.see(packet)
                yield from damage.attempt(packet.decode) or ()
            damage.end(container, stream)

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


@dataclass(slots=True)
class _Damage:
    """What FFmpeg could not read or decode of a stream.

    Attributes:
        broken: packets that cannot be read or decoded, or that it knows to be incomplete.
        missing: frames that the file promises behind the last packet; an estimate.
    """

    broken: int = 0
    missing: int = 0
    _packets: int = 0
    _end: Fraction | None = None
    _longest: Fraction = Fraction(0)  # that a frame stays

    def attempt(self, read: Callable[[], V]) -> V | None:
        """What `read` returns; None if FFmpeg cannot read it."""
        try:
            return read()
        except FFmpegError:
            self.broken += 1
            return None

    def see(self, packet: av.Packet) -> None:
        """Note a packet's faults and place."""
        self.broken += packet.is_corrupt
        self._packets += packet.size > 0
        if packet.pts is not None and packet.time_base is not None:
            end = (packet.pts + (packet.duration or 0)) * packet.time_base
            if self._end is not None:
                self._longest = max(self._longest, end - self._end)
            self._end = end if self._end is None else max(self._end, end)

    def end(self, container: InputContainer, stream: VideoStream) -> None:
        """Compare what was read with what the file promises."""
        promised = _promised_end(container, stream)
        if promised is None or not self._end or self._packets < 2 or self._packets == stream.frames:
            return
        if (lost := promised - self._end) > self._longest * Fraction(3, 2):  # the last frame may stay for long
            self.missing = max(1, round(lost * self._packets / self._end))

    def described(self, decoded: int) -> str | None:
        """In words, given the number of decoded frames."""
        if not self.broken and not self.missing:
            return None
        missing = self.missing + max(0, self._packets - decoded)
        lost = max(missing, self.broken)
        return f"about {lost} of {decoded + missing} frames are damaged or missing; FFmpeg decodes {decoded} frames"


def _promised_end(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """Seconds at which the video ends, as the file says; None where it does not say it of the video alone."""
    if tag := _MATROSKA_DURATION.fullmatch(stream.metadata.get("DURATION", "")):
        return 3600 * int(tag[1]) + 60 * int(tag[2]) + Fraction(tag[3])
    if stream.frames and container.duration is not None:
        return Fraction(container.duration + (container.start_time or 0), 1_000_000)
    return None


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
