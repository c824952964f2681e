"""Some frames of a video, as if there were no others."""

import re
from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from program_kit.errors import InputError
from program_kit.propagator import Frames

ALL = slice(None)


def parse_frames(text: str) -> slice:
    """The frames that `A:B` names: from A to B - 1, counted from 0; without A from the first, without B to the last.

    Raises:
        InputError: the text has another form, or names no frame.
    """
    found = re.fullmatch(r"([0-9]{0,9}):([0-9]{0,9})", text)
    if found is None:
        raise InputError(f"frames {text:.40}: expected A:B, as in 10:40 for the frames 10 to 39")
    start, stop = (int(number) if number else None for number in found.groups())
    if stop is not None and stop <= (start or 0):
        raise InputError(f"frames {text}: expected A:B with A below B")
    return slice(start, stop)


def stretch_of(video: Frames, frames: slice) -> range:
    """The frames of a video that a slice names.

    Raises:
        InputError: there are none.
    """
    stretch = range(len(video))[frames]
    if not stretch:
        raise InputError(
            f"frames {frames_as_text(frames)} are not in the video, which has frames 0 to {len(video) - 1}"
        )
    return stretch


def check_in_stretch(stretch: range, frame: int) -> None:
    """Check that a frame whose mask is given is one of those that are made.

    Raises:
        InputError: it is not.
    """
    if frame not in stretch:
        raise InputError(
            f"key frame {frame} is not among the frames {stretch.start} to {stretch.stop - 1}, which are made"
        )


def frames_as_text(frames: slice) -> str:
    """A slice as users write it."""
    return f"{frames.start or 0}:{'' if frames.stop is None else frames.stop}"


class Stretch:
    """Consecutive frames of a video, which are numbered from 0 here.

    Args:
        video: the whole video.
        frames: which.
    """

    def __init__(self, video: Frames, frames: range):
        self._video = video
        self._frames = frames

    def __eq__(self, other: object) -> bool:
        same_kind = isinstance(other, Stretch)
        return same_kind and (self._video, self._frames) == (other._video, other._frames)

    def __hash__(self) -> int:
        return hash((self._video, self._frames))

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of every frame."""
        return self._video.size

    def __len__(self) -> int:
        return len(self._frames)

    def read_frame(self, i: int) -> NDArray[np.uint8]:
        """Frame `i` as RGB uint8 [H, W, 3]."""
        return self._video.read_frame(self._frames[i])

    def frames(self, start: int = 0) -> Iterator[NDArray[np.uint8]]:
        """The frames from `start` on, in order."""
        return islice(self._video.frames(self._frames.start + start), len(self) - start)
