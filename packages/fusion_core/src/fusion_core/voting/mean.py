"""A vote on probabilities: foreground where their mean is large enough."""

from collections.abc import Iterator, Sequence
from fractions import Fraction

import cv2
import numpy as np
import numpy.typing as npt
from mask_interchange import RunLengths, decode_runs, encode_mask

SoftMasks = npt.NDArray[np.uint8]  # [T, h, w], probabilities times 255


def mean_masks(voters: Sequence[SoftMasks], share: Fraction, size: tuple[int, int]) -> RunLengths:
    """T masks: the pixels whose mean probability is at least `share`.

    Args:
        voters: T soft masks each, of any sizes up to `size`; they are enlarged by bilinear interpolation.
        share: 0 to 1.
        size: (H, W) of the result.
    """
    needed = float(255 * len(voters) * share)
    return decode_runs([encode_mask(total >= needed) for total in _totals(voters, size)])


def _totals(voters: Sequence[SoftMasks], size: tuple[int, int]) -> Iterator[npt.NDArray[np.float32]]:
    """The sum of all voters, float32 [H, W], frame by frame. Voters of one size are added before they are enlarged."""
    by_size: dict[tuple[int, ...], list[SoftMasks]] = {}
    for voter in voters:
        by_size.setdefault(voter.shape[1:], []).append(voter)
    for frame in range(len(voters[0])):
        total = np.zeros(size, np.float32)
        for group in by_size.values():
            small = np.stack([voter[frame] for voter in group]).sum(axis=0, dtype=np.float32)
            total += cv2.resize(small, size[::-1], interpolation=cv2.INTER_LINEAR)
        yield total
