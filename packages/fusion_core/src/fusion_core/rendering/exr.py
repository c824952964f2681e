"""Mattes in OpenEXR files: one file a frame, one channel an expression."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import OpenEXR

from fusion_core.rendering.clip import Clip, Frame, WriteFrame, shown_text
from fusion_core.rendering.mattes import alpha
from fusion_core.rendering.video_writer import pixel_aspect


@contextmanager
def mattes(clip: Clip, folder: Path) -> Iterator[WriteFrame]:
    """Writes `<frame>.exr` with a channel `matte.<number>` of half floats, 0 to 1, for each expression.

    The attribute of a channel's name is the text of the expression.
    """
    folder.mkdir(parents=True)
    tracks = {f"matte.{number}": track for number, track in enumerate(clip.masks.tracks)}
    header = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        "pixelAspectRatio": float(pixel_aspect(clip.video)),
        **{name: shown_text(track) for name, track in tracks.items()},
    }

    def write(t: int, frame: Frame) -> None:
        channels = {name: (alpha(track, t, clip.look) / 255).astype(np.float16) for name, track in tracks.items()}
        path = folder / f"{clip.masks.frame_names[t]}.exr"
        with OpenEXR.File(dict(header), channels) as file:
            file.write(str(path))

    yield write
