"""A video file's stream as FFmpeg (PyAV) gives it: opened with care, decoded frame by frame, and what was damaged."""

import re
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, TypeVar

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.sidedata.sidedata import SideDataContainer
from av.stream import Disposition
from av.video.stream import VideoStream
from numpy.typing import NDArray

from mask_interchange.errors import DatasetError
from mask_interchange.files import open_regular
from mask_interchange.rle import MAX_PIXELS, Size

_MATROSKA_DURATION = re.compile(r"([0-9]{1,4}):([0-9]{2}):([0-9]{2}(?:\.[0-9]{1,9})?)")

Threads = Literal["AUTO", "SLICE"]  # see `opened`

V = TypeVar("V")

# Demuxers that show text as pictures or read other files than the one given.
_NOT_A_VIDEO = frozenset({"tty", "ansi", "concat", "concatf", "hls", "dash", "imf", "image2", "lavfi"})

# A file object and no protocols: a playlist in disguise cannot make FFmpeg open anything else.
_CAREFUL: dict[str, Any] = {"options": {"protocol_whitelist": "none"}}
if int(av.__version__.split(".")[0]) < 19:
    _CAREFUL["metadata_errors"] = "replace"  # titles are often not UTF-8; PyAV 19 accepts that by itself


def decoded(path: Path, damage: "Damage", threads: Threads) -> Generator[av.VideoFrame, None, None]:
    """The decoder's frames from the start; notes what is lost."""
    with opened(path, threads) as (container, stream):
        yield from following(container, stream, damage)
        damage.end(container, stream)


def following(container: InputContainer, stream: VideoStream, damage: "Damage") -> Iterator[av.VideoFrame]:
    """The decoder's frames from where the container is; notes what is lost."""
    for packet in packets(container, stream, damage):
        yield from damage.attempt(packet.decode) or ()


def packets(container: InputContainer, stream: VideoStream, damage: "Damage") -> Iterator[av.Packet]:
    """The packets from where the container is, and an empty one at the end; notes what is lost."""
    found = container.demux(stream)
    while (packet := damage.attempt(lambda: next(found, None))) is not None:
        damage.see(packet)
        yield packet


def sound(path: Path) -> Iterator[av.AudioFrame]:
    """The first sound of a video file, decoded frame by frame, without what is damaged; nothing if it is silent."""
    with opened(path) as (container, _):
        for stream in container.streams.audio[:1]:
            for packet in container.demux(stream):
                with suppress(FFmpegError):
                    yield from packet.decode()


@contextmanager
def opened(path: Path, threads: Threads = "AUTO") -> Iterator[tuple[InputContainer, VideoStream]]:
    """Context manager that yields a file's container and the video stream that players show.

    Args:
        path: the file.
        threads: with `AUTO`, threads decode several frames together, which is faster. What they make of damaged frames
            depends on which of them comes first; with `SLICE` it does not.

    Raises:
        DatasetError: the file is no video, or cannot be read.
    """
    with readable(path), open_regular(path) as file, av.open(file, "r", **_CAREFUL) as container:
        if _NOT_A_VIDEO & set(container.format.name.split(",")) or not container.streams.video:
            raise DatasetError(f"{path}: expected a video, found {container.format.long_name}")
        stream = _shown_stream(path, container)
        if stream.codec_context is None:
            raise DatasetError(f"{path}: the video is coded in a way that FFmpeg cannot decode; convert it")
        stream.thread_type = threads
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        yield container, stream


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Context manager that names the file in what FFmpeg and the system say.

    Raises:
        DatasetError: it cannot be read.
    """
    try:
        yield
    except (OSError, FFmpegError) as error:
        raise DatasetError(
            f"{path}: not a readable video: {error.strerror or error}; play it to see whether it is complete"
        ) from error


def _shown_stream(path: Path, container: InputContainer) -> VideoStream:
    """The stream that players show: the first one that is not a picture of the cover."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    raise DatasetError(f"{path}: expected a video, found only a picture of the cover")


@dataclass(slots=True)
class Damage:
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
        except (FFmpegError, IndexError):  # PyAV 18 raises the latter where damage makes a stream appear
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
class Orientation:
    """How a stored frame is turned and mirrored to be shown: first rows and columns change places, then they flip."""

    transposed: bool = False
    flipped_vertically: bool = False
    flipped_horizontally: bool = False

    def applied(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A view of `pixels` [H, W, 3] as it is shown."""
        if self.transposed:
            pixels = pixels.swapaxes(0, 1)
        return pixels[:: -1 if self.flipped_vertically else 1, :: -1 if self.flipped_horizontally else 1]


def orientation(frame: av.VideoFrame) -> Orientation:
    """The nearest of the eight orientations to the file's display matrix.

    The matrix maps stored to shown places: x' = a x + c y and y' = b x + d y, with a, b, c and d in its places 0, 1, 3
    and 4. Source: documentation of FFmpeg's libavutil/display.h.
    """
    # `frame.side_data` would hold the frame, and the frame it: 100 frames stay in memory until they are collected.
    side_data = SideDataContainer(frame)  # pyright: ignore[reportCallIssue]
    matrix = side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return Orientation()
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    if abs(a) >= abs(b):
        return Orientation(False, flipped_vertically=d < 0, flipped_horizontally=a < 0)
    return Orientation(True, flipped_vertically=b < 0, flipped_horizontally=c < 0)


def shown_size(frame: av.VideoFrame) -> Size:
    """(H, W) of a frame after rotation."""
    return (frame.width, frame.height) if orientation(frame).transposed else (frame.height, frame.width)


def checksum(frame: av.VideoFrame) -> int:
    """CRC-32 of a frame as it is stored."""
    total = 0
    for plane in frame.planes:
        total = zlib.crc32(plane, total)
    return total
