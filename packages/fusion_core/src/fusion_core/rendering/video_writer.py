"""Video files with the size and timing of the video that they are made from."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import cast

import av
import numpy as np
import numpy.typing as npt
from av.container import OutputContainer
from mask_interchange import Size, Video

BT709 = 1  # FFmpeg's number for colour matrix, primaries and transfer
LIMITED_RANGE = 1
TICKS = 90_000  # a second, if the source has no time stamps of its own
SOUND_RATE = 48_000  # samples a second; every encoder and player takes them


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """How frames are encoded.

    Attributes:
        container: FFmpeg's name of the kind of file.
        name: of the encoder.
        pixels: FFmpeg's name for the frames that are given, RGB or RGBA.
        stored: its name for the pixels of the file.
        options: of the encoder.
        divisor: of height and width; frames of other sizes are padded.
    """

    container: str
    name: str
    pixels: str
    stored: str
    options: dict[str, str]
    divisor: int


H264 = Codec(
    container="mp4",
    name="libx264",
    pixels="rgb24",
    stored="yuv420p",
    options={"crf": "18", "preset": "veryfast", "bf": "0"},  # without B-frames packets are in the order of the frames
    divisor=2,
)
PRORES_4444 = Codec(
    container="mov",
    name="prores_ks",
    pixels="rgba",
    stored="yuva444p10le",
    options={"profile": "4444", "alpha_bits": "16"},
    divisor=1,
)


def frame_times(video: Video, rate: Fraction) -> list[Fraction]:
    """The time of each frame in seconds from 0: as in the video file, or at `rate` frames a second for images.

    If times in a file are missing or do not rise, its mean rate is used.
    """
    stamps: Sequence[Fraction | None] = getattr(video.source, "times", [None] * len(video))
    known = [stamp for stamp in stamps if stamp is not None]
    if len(known) == len(stamps) and all(a < b for a, b in pairwise(known)):
        return [stamp - known[0] for stamp in known]
    if len(known) > 1 and known[-1] > known[0]:
        rate = (len(known) - 1) / (known[-1] - known[0])
    return [t / rate for t in range(len(video))]


def pixel_aspect(video: Video) -> Fraction:
    """Width of a pixel, divided by its height; 1 for images."""
    return getattr(video.source, "pixel_aspect", Fraction(1))


def sound(video: Video) -> Iterator[av.AudioFrame]:
    """The sound of a video file, with time stamps from its first frame on; nothing for images and silent files."""
    stamps: Sequence[Fraction | None] = getattr(video.source, "times", ())
    start = next((stamp for stamp in stamps if stamp is not None), Fraction(0))
    for frame in video.source.sound() if stamps else ():  # pyright: ignore[reportAttributeAccessIssue]
        if frame.pts is None or frame.time_base is None:
            continue
        time = frame.pts * frame.time_base - start
        if time >= 0:
            frame.pts, frame.time_base = round(time * frame.sample_rate), Fraction(1, frame.sample_rate)
            yield frame


def padded(size: Size, divisor: int) -> Size:
    """The size that frames of `size` get in a file whose sides are multiples of `divisor`."""
    return size[0] + -size[0] % divisor, size[1] + -size[1] % divisor


@contextmanager
def video_writer(
    path: Path,
    codec: Codec,
    size: Size,
    times: Sequence[Fraction],
    pixel_aspect: Fraction = Fraction(1),
    sound: Iterable[av.AudioFrame] | None = None,
) -> Iterator[Callable[[npt.NDArray[np.uint8]], None]]:
    """Context manager that yields a function to call with every frame uint8 [H, W, 3 or 4], as many as `times`.

    Args:
        path: the file; its suffix fits the codec's container.
        codec: what is written.
        size: (H, W). Frames of a size that the codec cannot have are padded: their last row or column is repeated.
        times: seconds, increasing from 0.
        pixel_aspect: width of a pixel, divided by its height.
        sound: of the file, in order and with time stamps from 0; written as AAC up to the last frame. None for none.

    Raises:
        OSError: the file cannot be written.
    """
    mean = (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else Fraction(1)
    base = _time_base(times)
    padding = [(0, whole - side) for side, whole in zip(size, padded(size, codec.divisor), strict=True)]
    ticks = [round(time / base) for time in times]
    lasts = {now: later - now for now, later in pairwise([*ticks, ticks[-1] + round(1 / mean / base)])}
    with av.open(str(path), "w", format=codec.container, options={"movflags": "faststart"}) as container:
        rate = mean.limit_denominator(100_000)
        stream = cast(av.VideoStream, container.add_stream(codec.name, rate=rate, options=dict(codec.options)))
        stream.height, stream.width = padded(size, codec.divisor)
        stream.pix_fmt = codec.stored
        context = stream.codec_context
        context.sample_aspect_ratio = pixel_aspect
        context.time_base = base
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED_RANGE
        add_sound = _sound_track(container, sound)
        remaining = iter(ticks)

        def encode(frame: av.VideoFrame | None) -> None:
            for packet in stream.encode(frame):
                if packet.pts is not None:
                    packet.duration = lasts[packet.pts]
                container.mux(packet)

        def write(pixels: npt.NDArray[np.uint8]) -> None:
            frame = av.VideoFrame.from_ndarray(np.pad(pixels, [*padding, (0, 0)], "edge"), format=codec.pixels)
            frame = frame.reformat(format=codec.stored, dst_colorspace="ITU709")
            frame.pts, frame.time_base = next(remaining), base
            encode(frame)
            add_sound(frame.pts * base)

        yield write
        encode(None)
        add_sound(None)


def _time(frame: av.AudioFrame) -> Fraction:
    """Seconds at which a frame with a time stamp begins."""
    assert frame.pts is not None
    assert frame.time_base is not None
    return frame.pts * frame.time_base


def _sound_track(
    container: OutputContainer, sound: Iterable[av.AudioFrame] | None
) -> Callable[[Fraction | None], None]:
    """A function that writes the sound up to a time, in seconds; None ends it."""
    frames = iter(sound or ())
    first = next(frames, None)
    if first is None:
        return lambda until: None
    stream = container.add_stream("aac", rate=SOUND_RATE, layout=first.layout.name)
    resampler = av.AudioResampler(format="fltp", layout=first.layout.name, rate=SOUND_RATE)
    waiting = [first]

    def write(until: Fraction | None) -> None:
        if until is None:
            container.mux(stream.encode(None))
        while until is not None and waiting and _time(waiting[0]) <= until:
            for frame in resampler.resample(waiting.pop()):
                container.mux(stream.encode(frame))
            waiting.extend(frame for frame in (next(frames, None),) if frame is not None)

    return write


def _time_base(times: Sequence[Fraction]) -> Fraction:
    """The longest tick of which all times are multiples, if the file can count in it."""
    ticks = 1
    for time in times:
        ticks = np.lcm(ticks, time.denominator)
        if ticks > TICKS:
            return Fraction(1, TICKS)
    return Fraction(1, int(ticks))
