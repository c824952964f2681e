"""J and F of one frame, and the statistics of a sequence of them.

Definitions: Perazzi et al., CVPR 2016, section 5. Details (which pixels are boundary pixels, the image border, the
width of the tolerance) as in the DAVIS 2017 evaluation toolkit, `davis2017/metrics.py` and `davis2017/utils.py`, whose
numbers these functions reproduce. Masks are boolean [H, W]; `void` marks pixels that do not count.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from rvos_evaluation.errors import EvaluationError

__all__ = ["Statistics", "contour_accuracy", "region_similarity", "statistics"]

Mask = npt.NDArray[np.bool_]

BOUNDARY_TOLERANCE = 0.008  # of the image diagonal


def region_similarity(truth: Mask, prediction: Mask, void: Mask | None = None) -> float:
    """J, the intersection of two masks over their union; 1 if both are empty.

    Args:
        truth: bool [H, W].
        prediction: bool [H, W].
        void: bool [H, W], pixels left out of both areas.

    Returns:
        A number in [0, 1].

    Raises:
        EvaluationError: a mask is not bool [H, W], or the sizes differ.
    """
    intersection, union = overlap(truth, prediction, void)
    return intersection / union if union else 1.0


def overlap(truth: Mask, prediction: Mask, void: Mask | None = None) -> tuple[int, int]:
    """Pixels that two masks share, and pixels that either has; arguments and errors as `region_similarity`."""
    truth, prediction = _without_void(truth, prediction, void)
    return int(np.count_nonzero(truth & prediction)), int(np.count_nonzero(truth | prediction))


def contour_accuracy(
    truth: Mask, prediction: Mask, void: Mask | None = None, tolerance: float = BOUNDARY_TOLERANCE
) -> float:
    """F, the harmonic mean of precision and recall of boundary pixels within a tolerance.

    A boundary pixel is right if a boundary pixel of the other mask is within the tolerance, from centre to centre. If
    only one mask has a boundary, F is 0; if neither has one, F is 1. A mask of the whole image has no boundary.

    Args:
        truth: bool [H, W].
        prediction: bool [H, W].
        void: bool [H, W], pixels that count as background in both masks.
        tolerance: a share of the image diagonal if below 1, else pixels.

    Returns:
        A number in [0, 1], the same if the masks are exchanged.

    Raises:
        EvaluationError: a mask is not bool [H, W], the sizes differ, or the tolerance is not positive.
    """
    radius = tolerance_in_pixels(truth.shape, tolerance)
    truth, prediction = _without_void(truth, prediction, void)
    window = _foreground_window(truth, prediction)
    true_boundary, predicted_boundary = boundary_map(truth[window]), boundary_map(prediction[window])
    if not true_boundary.any() or not predicted_boundary.any():
        return float(true_boundary.any() == predicted_boundary.any())
    precision = _share_within(radius, predicted_boundary, true_boundary)
    recall = _share_within(radius, true_boundary, predicted_boundary)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def boundary_map(mask: Mask) -> Mask:
    """Pixels that differ from their right, lower or lower-right neighbour inside the image; bool [H, W]."""
    boundary = np.zeros_like(mask)
    boundary[:, :-1] |= mask[:, :-1] ^ mask[:, 1:]
    boundary[:-1, :] |= mask[:-1, :] ^ mask[1:, :]
    boundary[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return boundary


def tolerance_in_pixels(size: tuple[int, ...], tolerance: float = BOUNDARY_TOLERANCE) -> float:
    """How far apart two matching boundary pixels may be in an image of this (height, width)."""
    if not tolerance > 0:
        raise EvaluationError(
            f"the boundary tolerance must be positive (a share of the diagonal, or pixels from 1 on), not {tolerance}"
        )
    return tolerance if tolerance >= 1 else float(math.ceil(tolerance * math.hypot(*size)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """The statistics of DAVIS on the scores of one object over time.

    Attributes:
        mean: mean over the frames.
        recall: share of frames above one half.
        decay: mean of the first quarter minus mean of the last one; positive if the object gets lost.
    """

    mean: float
    recall: float
    decay: float


def statistics(values: npt.ArrayLike) -> Statistics:
    """Mean, recall and decay of the scores of successive frames.

    The quarters share their border frames, as published. The published code stores the borders as 8-bit integers, so
    its decay is wrong for more than 256 frames; here it is right for any length.

    Args:
        values: float [T], T > 0; NaN is a frame without a score: means leave it out, the recall counts it as a miss.
    """
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or not scores.size:
        raise EvaluationError(
            f"statistics need the scores of at least one frame as a vector, not an array of shape {scores.shape}"
        )
    borders = np.round(np.linspace(1, scores.size, 5) + 1e-10).astype(int) - 1
    first, last = scores[: borders[1] + 1], scores[borders[3] :]
    return Statistics(
        mean=_mean_of_scored(scores),
        recall=float(np.mean(scores > 0.5)),
        decay=_mean_of_scored(first) - _mean_of_scored(last),
    )


def _mean_of_scored(scores: np.ndarray) -> float:
    scored = scores[~np.isnan(scores)]
    return float(scored.mean()) if scored.size else math.nan


def _without_void(truth: Mask, prediction: Mask, void: Mask | None) -> tuple[Mask, Mask]:
    """Check both masks and remove the void pixels from them."""
    masks = {"truth": truth, "prediction": prediction} | ({} if void is None else {"void": void})
    for name, mask in masks.items():
        if mask.dtype != np.bool_ or mask.ndim != 2:
            raise EvaluationError(f"{name} must be a boolean mask [H, W], not {mask.dtype} {list(mask.shape)}")
        if mask.shape != truth.shape:
            raise EvaluationError(
                f"{name} is {mask.shape[0]}x{mask.shape[1]} but truth is {truth.shape[0]}x{truth.shape[1]} "
                "(height x width); scores need masks at the full resolution of the annotation"
            )
    return (truth, prediction) if void is None else (truth & ~void, prediction & ~void)


def _foreground_window(truth: Mask, prediction: Mask) -> tuple[slice, slice]:
    """The part of the image that contains all foreground and boundaries of both masks.

    It has a margin of one pixel: the boundary map is shifted half a pixel towards the origin, and needs the background
    after the mask.
    """
    left, top, width, height = cv2.boundingRect((truth | prediction).view(np.uint8))
    return slice(max(top - 1, 0), top + height + 1), slice(max(left - 1, 0), left + width + 1)


def _share_within(radius: float, pixels: Mask, others: Mask) -> float:
    """Share of `pixels` with one of `others` at most `radius` away; OpenCV treats the outside as background."""
    near = cv2.dilate(others.view(np.uint8), _disk(radius))
    return int(np.count_nonzero(near[pixels])) / int(np.count_nonzero(pixels))


@lru_cache(maxsize=16)
def _disk(radius: float) -> np.ndarray:
    """uint8 [2R+1, 2R+1] with R = floor(radius): 1 where the distance from the centre is at most `radius`."""
    steps = np.arange(-int(radius), int(radius) + 1)
    return (steps**2 + steps[:, None] ** 2 <= radius**2).astype(np.uint8)
