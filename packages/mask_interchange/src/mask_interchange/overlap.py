"""How much two tracks share, on run lengths."""

import numpy as np
from numpy.typing import NDArray

from mask_interchange.rle import RunLengths

Values = NDArray[np.float64]


def overlap(one: RunLengths, other: RunLengths) -> tuple[int, int]:
    """Pixels in both and pixels in either of two tracks with equally many frames, all frames together."""
    both = int(_shared_areas(one, other).sum())
    return both, int(one.areas().sum() + other.areas().sum()) - both


def track_iou(one: RunLengths, other: RunLengths) -> float:
    """Intersection over union of two tracks, all frames together; 1 if both are empty."""
    both, either = overlap(one, other)
    return both / either if either else 1.0


def frame_ious(one: RunLengths, other: RunLengths) -> Values:
    """Intersection over union float64 [T] of two tracks of T masks; 1 if both are empty."""
    both = _shared_areas(one, other)
    either = one.areas() + other.areas() - both
    return np.divide(both, either, out=np.ones(len(both)), where=either > 0)


def _shared_areas(one: RunLengths, other: RunLengths) -> Values:
    """Pixels in both masks of each frame, whole numbers as float64 [T].

    Laid end to end, the frames are one line. The area of `one` to the left of a position is linear between the ends of
    its runs. So each stretch of `other` shares with it what that area gains from the start of the stretch to its end.
    """
    ends, is_foreground, _ = _stretches(one)
    lengths = np.diff(ends, prepend=0)
    filled = lengths > 0  # a mask that begins with foreground has an empty first run
    area = np.cumsum(np.where(is_foreground, lengths, 0))
    line, area = np.concatenate(([0], ends[filled])), np.concatenate(([0], area[filled]))
    falls, is_foreground, frames = _stretches(other)
    rises = falls - other.lengths
    gained = np.interp(falls, line, area) - np.interp(rises, line, area)
    return np.bincount(frames, weights=np.where(is_foreground, gained, 0), minlength=len(other)).astype(np.float64)


def _stretches(runs: RunLengths) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
    """End of every run on the line of all frames, whether it is foreground, and its frame."""
    counts = np.diff(runs.starts)
    frames = np.repeat(np.arange(len(runs)), counts)
    within = np.arange(len(runs.lengths)) - np.repeat(runs.starts[:-1], counts)
    return np.cumsum(runs.lengths), within % 2 == 1, frames
