"""Alpha of an expression, for compositing: the mask, or the stored probabilities, with soft edges if wanted."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from cv2.typing import MatLike
from mask_interchange import MaskTrack, VideoMasks

from fusion_core.errors import FusionCoreError, MemberError
from fusion_core.rendering.clip import Clip, Frame, Look, WriteFrame
from fusion_core.rendering.video_writer import PRORES_4444, frame_times, pixel_aspect, video_writer


def alpha(track: MaskTrack, t: int, look: Look) -> npt.NDArray[np.uint8]:
    """Alpha [H, W] of frame `t`, 0 to 255.

    Raises:
        MemberError: probabilities are wanted, and the run has none.
    """
    if not look.soft:
        matte = track.mask(t).astype(np.uint8) * 255
    elif track.soft is None:
        raise MemberError(
            f"expression {track.expression.id!r} has no stored probabilities; make the run with --soft-masks PIXELS, "
            "or omit --soft"
        )
    else:
        matte = cv2.resize(track.soft[t], track.size[::-1], interpolation=cv2.INTER_LINEAR)
    if look.feather:
        matte = cv2.GaussianBlur(matte, (0, 0), look.feather)
    return np.ascontiguousarray(matte, np.uint8)  # masks are stored column by column


def with_alpha(frame: Frame, matte: npt.NDArray[np.uint8]) -> Frame:
    """The frame RGBA uint8 [H, W, 4]; its colours stay as they are, also where nothing is seen of them."""
    return np.dstack([frame, matte])


@contextmanager
def rgba(clip: Clip, folder: Path) -> Iterator[WriteFrame]:
    """Writes `<expression>/<frame>.png`, the frame with the expression's alpha."""
    for expression in clip.masks.expression_ids:
        (folder / expression).mkdir(parents=True)

    def write(t: int, frame: Frame) -> None:
        for track in clip.masks.tracks:
            picture = cv2.cvtColor(with_alpha(frame, alpha(track, t, clip.look)), cv2.COLOR_RGBA2BGRA)
            write_image(folder / track.expression.id / f"{clip.masks.frame_names[t]}.png", picture)

    yield write


def write_image(path: Path, picture: MatLike) -> None:
    """Write a picture BGR or BGRA in the format that the suffix names.

    Raises:
        OSError: it cannot be written.
        FusionCoreError: it cannot be encoded.
    """
    # imencode, because imwrite cannot open every path on Windows and does not say why it fails
    done, data = cv2.imencode(path.suffix, picture)
    if not done:
        raise FusionCoreError(f"{path}: could not be encoded")
    path.write_bytes(data.tobytes())


@contextmanager
def prores(clip: Clip, folder: Path) -> Iterator[WriteFrame]:
    """Writes `<expression>.mov`, ProRes 4444: the frames with the expression's alpha."""
    folder.mkdir(parents=True)
    times = frame_times(clip.video, clip.look.rate)
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                video_writer(
                    folder / f"{track.expression.id}.mov", PRORES_4444, track.size, times, pixel_aspect(clip.video)
                )
            )
            for track in clip.masks.tracks
        ]

        def write(t: int, frame: Frame) -> None:
            for track, add in zip(clip.masks.tracks, writers, strict=True):
                add(with_alpha(frame, alpha(track, t, clip.look)))

        yield write


def check_soft(masks: VideoMasks, look: Look) -> None:
    """Raise MemberError if probabilities are wanted that an expression does not have."""
    for track in masks.tracks if look.soft else ():
        alpha(track, 0, look)
