"""MP4 files with the size and timing of the video that they are made from."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from mask_interchange import Size, Video
from mask_interchange.files import replace_whole

CODEC = "libx264"
OPTIONS = {"crf": "18", "preset": "veryfast", "bf": "0"}  # without B-frames packets are in the order of the frames
BT709 = 1  # FFmpeg's number for colour matrix, primaries and transfer
LIMITED_RANGE = 1
TICKS = 90_000  # a second, if the source has no time stamps of its own


def frame_times(video: Video, rate: Fraction) -> list[Fraction]:
    """The time of each frame in seconds: as in the video file, or at `rate` frames a second for images.

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


def even(size: Size) -> Size:
    """The size that frames of `size` get in a file: colours have half the resolution, as all players expect."""
    return size[0] + size[0] % 2, size[1] + size[1] % 2


def write_video(
    path: Path,
    frames: Iterable[npt.NDArray[np.uint8]],
    size: Size,
    times: Sequence[Fraction],
    pixel_aspect: Fraction = Fraction(1),
) -> None:
    """Write RGB frames uint8 [H, W, 3] as H.264, whole or not at all.

    Args:
        path: the .mp4 file.
        frames: as many as there are `times`.
        size: (H, W). Frames of an odd size are padded to `even`: their last row or column stands there twice.
        times: seconds, increasing from 0.
        pixel_aspect: width of a pixel, divided by its height.

    Raises:
        OSError: the file cannot be written.
    """
    replace_whole(path, partial(_encode, frames, size, times, pixel_aspect))


def _encode(
    frames: Iterable[npt.NDArray[np.uint8]], size: Size, times: Sequence[Fraction], pixel_aspect: Fraction, path: Path
) -> None:
    mean = (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else Fraction(1)
    base = _time_base(times)
    padding = ((0, size[0] % 2), (0, size[1] % 2), (0, 0))
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = container.add_stream(CODEC, rate=mean.limit_denominator(100_000), options=OPTIONS)
        stream.height, stream.width = even(size)
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.sample_aspect_ratio = pixel_aspect
        context.time_base = base
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED_RANGE
        ticks = [round(time / base) for time in times]
        lasts = {now: later - now for now, later in pairwise([*ticks, ticks[-1] + round(1 / mean / base)])}

        def write(frame: av.VideoFrame | None) -> None:
            for packet in stream.encode(frame):
                if packet.pts is not None:
                    packet.duration = lasts[packet.pts]
                container.mux(packet)

        for pixels, tick in zip(frames, ticks, strict=True):
            frame = av.VideoFrame.from_ndarray(np.pad(pixels, padding, "edge"), format="rgb24")
            frame = frame.reformat(format=stream.pix_fmt, dst_colorspace="ITU709")
            frame.pts, frame.time_base = tick, base
            write(frame)
        write(None)


def _time_base(times: Sequence[Fraction]) -> Fraction:
    """The longest tick of which all times are multiples, if MP4 can count in it."""
    ticks = 1
    for time in times:
        ticks = np.lcm(ticks, time.denominator)
        if ticks > TICKS:
            return Fraction(1, TICKS)
    return Fraction(1, int(ticks))
