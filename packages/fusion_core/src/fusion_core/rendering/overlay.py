"""Masks in colour over a frame."""

from collections.abc import Iterable

import cv2
import numpy as np
import numpy.typing as npt

from fusion_core.rendering.colours import Colour

STRENGTH = 0.45  # of the colour inside a mask, 0 to 1
OUTLINE = 1 / 300  # width of outlines as a share of the frame's shorter side

Frame = npt.NDArray[np.uint8]


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


def cut_out(frame: Frame, mask: npt.NDArray[np.bool_]) -> Frame:
    """The frame RGBA uint8 [H, W, 4], opaque inside the mask and transparent outside."""
    return np.dstack([frame, mask.astype(np.uint8) * 255])
