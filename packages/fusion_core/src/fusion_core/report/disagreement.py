"""How far the members of a vote are from its result, frame by frame, on run lengths.

The disagreement of an expression in a frame is 1 minus the mean IoU of members and results: every member of every vote
of the recipe is compared with the result of that vote for the expression. If both masks are empty, the IoU is 1. The
disagreement of an expression is the mean over its frames: 0 if all members equal the result, 1 if no member shares a
pixel with it.
"""

from collections.abc import Iterable

import numpy as np
from mask_interchange.overlap import Values, frame_ious
from mask_interchange.rle import RunLengths


def disagreement(comparisons: Iterable[tuple[RunLengths, RunLengths]]) -> Values | None:
    """Disagreement float64 [T] of members with results, given as pairs; None if there is no pair."""
    ious = [frame_ious(member, result) for member, result in comparisons]
    return 1 - np.mean(ious, axis=0) if ious else None
