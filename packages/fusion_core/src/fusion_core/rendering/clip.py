"""A video with its masks, as the writers of all forms get it."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
from mask_interchange import MaskTrack, Video, VideoMasks

Frame = npt.NDArray[np.uint8]  # RGB [H, W, 3]
WriteFrame = Callable[[int, Frame], None]  # gets the frames in order, with their numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the user may choose about pictures and videos.

    Attributes:
        rate: frames a second if the source is images.
        font: for the expressions of overlays; None finds one that has their letters.
        audio: whether overlays have the sound of their source.
        soft: whether mattes are the stored probabilities, instead of the masks.
        feather: standard deviation in pixels of the blur of mattes; 0 for none.
    """

    rate: Fraction = Fraction(6)
    font: Path | None = None
    audio: bool = False
    soft: bool = False
    feather: float = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A video and its masks.

    Attributes:
        masks: those of a run, checked to be of this video.
        video: where its frames are.
        look: what was chosen.
        note: called with what is not as one might expect.
    """

    masks: VideoMasks
    video: Video
    look: Look
    note: Callable[[str], object]


def shown_text(track: MaskTrack) -> str:
    """What an expression is called where people read it: its text, else its id."""
    return track.expression.text or track.expression.id
