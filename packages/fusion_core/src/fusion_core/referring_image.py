"""Scores of referring expressions on single images (RefCOCO and A2D style): precision@k, overall IoU and mean IoU.

Definitions as in `soc_test/metrics.py` of the challenge code. A sample has one true mask (or box) and several scored
predictions, of which only the one with the highest score counts; among equal scores the last one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fusion_core.errors import EvaluationError

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
EPSILON = 1e-6  # keeps the IoU of two empty areas at 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Areas in pixels of one sample's intersection and union, and their smoothed quotient."""

    intersection: float
    union: float
    iou: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferringScores:
    """Scores over all samples, as fractions.

    Attributes:
        precision: for every threshold k, the share of samples with IoU strictly above k.
        overall_iou: sum of all intersections over the sum of all unions; large objects weigh more.
        mean_iou: mean of the samples' IoU.
    """

    precision: Mapping[float, float]
    overall_iou: float
    mean_iou: float


def best_prediction(scores: Sequence[float] | npt.NDArray[np.floating]) -> int:
    """Index of the highest score; of the last one among equals."""
    if not len(scores):
        raise EvaluationError("a sample without a prediction cannot be scored; give it an empty mask with score 0")
    return len(scores) - 1 - int(np.argmax(np.asarray(scores)[::-1]))


def mask_overlap(truth: npt.NDArray[np.bool_], prediction: npt.NDArray[np.bool_]) -> Overlap:
    """Overlap of two boolean masks of one size; the IoU is rounded to float32 as in the published code."""
    if truth.shape != prediction.shape:
        raise EvaluationError(f"truth is {truth.shape} but prediction is {prediction.shape}; scores need equal sizes")
    intersection = int(np.count_nonzero(truth & prediction))
    union = int(np.count_nonzero(truth | prediction))
    epsilon = np.float32(EPSILON)
    iou = (np.float32(intersection) + epsilon) / (np.float32(union) + epsilon)
    return Overlap(intersection=intersection, union=union, iou=float(iou))


def box_overlap(truth_xywh: npt.ArrayLike, prediction_xyxy: npt.ArrayLike) -> Overlap:
    """Overlap of two boxes in pixels: truth as (left, top, width, height), prediction as (left, top, right, bottom)."""
    truth, prediction = np.asarray(truth_xywh, np.float64), np.asarray(prediction_xyxy, np.float64)
    start, size = truth[:2], truth[2:]
    shared = np.minimum(start + size, prediction[2:]) - np.maximum(start, prediction[:2])
    intersection = float(np.prod(np.maximum(shared, 0)))
    union = float(np.prod(size) + np.prod(prediction[2:] - prediction[:2])) - intersection
    return Overlap(intersection=intersection, union=union, iou=(intersection + EPSILON) / (union + EPSILON))


def summarise(overlaps: Iterable[Overlap], thresholds: Sequence[float] = THRESHOLDS) -> ReferringScores:
    """Scores over the overlaps of all samples; at least one sample, not all of them empty."""
    samples = list(overlaps)
    union = sum(sample.union for sample in samples)
    if not union > 0:
        raise EvaluationError(f"no area to score in {len(samples)} samples: every truth and every prediction is empty")
    ious = np.array([sample.iou for sample in samples])
    return ReferringScores(
        precision={threshold: float(np.mean(ious > threshold)) for threshold in thresholds},
        overall_iou=sum(sample.intersection for sample in samples) / union,
        mean_iou=float(ious.mean()),
    )
