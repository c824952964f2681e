"""Masks in colour and the expressions, over the frames of a video."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from mask_interchange import VideoMasks

from fusion_core.rendering.clip import Clip, Frame, WriteFrame, shown_text
from fusion_core.rendering.colours import Colour, colours
from fusion_core.rendering.legend import make_legend, missing_letters
from fusion_core.rendering.video_writer import H264, frame_times, padded, pixel_aspect, sound, video_writer

STRENGTH = 0.45  # of the colour inside a mask, 0 to 1
OUTLINE = 1 / 300  # width of outlines as a share of the frame's shorter side


@contextmanager
def overlay(clip: Clip, folder: Path) -> Iterator[WriteFrame]:
    """Writes an MP4 file beside `folder`, of its name, with the size and timing of its source."""
    masks, look = clip.masks, clip.look
    heard = sound(clip.video) if look.audio else iter(())
    first = next(heard, None)
    for text in _notes(masks, clip, is_silent=look.audio and first is None):
        clip.note(f"video {clip.video.id}: {text}")
    palette = colours(len(masks.tracks))
    texts = [shown_text(track) for track in masks.tracks]
    legend = make_legend(list(zip(texts, palette, strict=True)), masks.size, look.font) if texts else None
    folder.parent.mkdir(parents=True, exist_ok=True)
    path, times = folder.with_name(f"{folder.name}.mp4"), frame_times(clip.video, look.rate)
    heard = None if first is None else chain((first,), heard)
    with video_writer(path, H264, masks.size, times, pixel_aspect(clip.video), heard) as add:

        def write(t: int, frame: Frame) -> None:
            shown = lay_over(
                frame, ((track.mask(t), colour) for track, colour in zip(masks.tracks, palette, strict=True))
            )
            if legend is not None:
                legend.lay_over(shown)
            add(shown)

        yield write


def _notes(masks: VideoMasks, clip: Clip, *, is_silent: bool) -> Iterator[str]:
    if missing := missing_letters("".join(map(shown_text, masks.tracks)), clip.look.font):
        yield f"no font here has {missing!r}; the overlay shows a placeholder, --font FILE gives another font"
    if masks.size != padded(masks.size, H264.divisor):
        found, whole = (f"{width}x{height}" for height, width in (masks.size, padded(masks.size, H264.divisor)))
        yield f"the overlay of {found} pixels is padded to {whole}: many players refuse odd sizes"
    if is_silent:
        yield "has no sound; neither has the overlay"


def lay_over(frame: Frame, masks: Iterable[tuple[npt.NDArray[np.bool_], Colour]]) -> Frame:
    """A new frame with each mask bool [H, W] tinted and outlined in its colour; later masks lie over earlier ones."""
    shown = frame.copy()
    width = max(1, round(min(frame.shape[:2]) * OUTLINE))
    around = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    for mask, colour in masks:
        if not mask.any():
            continue
        tinted = (1 - STRENGTH) * shown[mask] + STRENGTH * np.array(colour)
        shown[mask] = np.rint(tinted)
        inner = cv2.erode(mask.astype(np.uint8), around, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        shown[mask & (inner == 0)] = colour
    return shown
