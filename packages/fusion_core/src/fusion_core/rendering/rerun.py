"""Recordings for the viewer Rerun: the frames of a video, and the mask of every expression over them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rerun as rr

from fusion_core.rendering.clip import Clip, Frame, WriteFrame, shown_text
from fusion_core.rendering.colours import colours
from fusion_core.rendering.video_writer import frame_times

QUALITY = 90  # of the JPEG images in a recording


@contextmanager
def recording(clip: Clip, path: Path) -> Iterator[WriteFrame]:
    """Writes `<video>.rrd`: `video`, `video/<expression>` with its text and colour, and `scores/<expression>`.

    The timelines are `frame` (numbers) and `time` (as in the video file).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    tracks, times = clip.masks.tracks, frame_times(clip.video, clip.look.rate)
    out = rr.RecordingStream("fusion-core", recording_id=clip.video.id)
    stream = out.binary_stream()  # held in memory: a file of the library's own waits for ever where the disk is full
    for track, colour in zip(tracks, colours(len(tracks)), strict=True):
        look = rr.AnnotationContext([(0, "", (0, 0, 0, 0)), (1, shown_text(track), (*colour, 255))])
        out.log(["video", track.expression.id], look, static=True)

    def write(t: int, frame: Frame) -> None:
        out.set_time("frame", sequence=t)
        out.set_time("time", duration=float(times[t]))
        out.log("video", rr.Image(frame).compress(jpeg_quality=QUALITY))
        for track in tracks:
            out.log(["video", track.expression.id], rr.SegmentationImage(track.mask(t).astype(np.uint8), opacity=0.5))
            if track.scores is not None:
                out.log(["scores", track.expression.id], rr.Scalars(float(track.scores[t])))

    yield write
    path.with_name(f"{path.name}.rrd").write_bytes(stream.read() or b"")
