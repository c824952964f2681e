"""Which queries are positives in training: several for each object, as many as fit it well.

SimOTA (Ge et al. 2021, YOLOX, section 2) for one object an image, which UNINEXT uses instead of one-to-one matching.
Letters: B images, each with one object, N queries or tokens.
"""

from dataclasses import dataclass

import torch
from rvos_training.losses.terms import LossWeights, box_distance, giou, label_cost
from torch import Tensor

TOP_OVERLAPS = 10  # number of best overlaps, whose sum is the number of positives
OUTSIDE = 1e3  # cost of a candidate whose centre is outside the object's box; it is taken where none is inside
NOT_ALLOWED = 1e6  # cost of a candidate that may not be a positive


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Predictions of one stage of the network.

    Attributes:
        logits: [B, N], of being the object.
        boxes: [B, N, 4] as (cx, cy, w, h) in fractions of the frame.
        centres: [B, N, 2] or [N, 2] (x, y), the reference points, in fractions of the frame.
        allowed: bool [N], which may be positives; None for all.
    """

    logits: Tensor
    boxes: Tensor
    centres: Tensor
    allowed: Tensor | None = None


@torch.no_grad()
def assign_positives(candidates: Candidates, boxes: Tensor, visible: Tensor, cost_weights: LossWeights) -> Tensor:
    """The positives of each image, bool [B, N].

    Args:
        candidates: to choose from.
        boxes: [B, 4], the objects' boxes.
        visible: bool [B]; an object that is not visible has no positives.
        cost_weights: of the terms of the cost, which has no terms of masks.
    """
    truth = boxes[:, None]
    overlaps = overlap(candidates.boxes, truth)
    cost = (
        cost_weights.label * label_cost(candidates.logits)
        + cost_weights.box * box_distance(candidates.boxes, truth)
        - cost_weights.giou * giou(candidates.boxes, truth)
        + OUTSIDE * ~_within(candidates.centres, truth)
    )
    if candidates.allowed is not None:
        cost = cost + NOT_ALLOWED * ~candidates.allowed
        overlaps = overlaps * candidates.allowed
    number = overlaps.topk(min(TOP_OVERLAPS, overlaps.shape[1])).values.sum(1).int().clamp(min=1)
    rank = cost.argsort(1).argsort(1)
    return (rank < number[:, None]) & visible[:, None]


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union [...] in 0..1 of boxes (cx, cy, w, h) [..., 4] that broadcast."""
    low = torch.maximum(a[..., :2] - a[..., 2:] / 2, b[..., :2] - b[..., 2:] / 2)
    high = torch.minimum(a[..., :2] + a[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2)
    common = (high - low).clamp(min=0).prod(-1)
    return common / (a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - common).clamp(min=1e-9)


def _within(points: Tensor, boxes: Tensor) -> Tensor:
    """Whether points [..., 2] lie in boxes [..., 4]."""
    return ((points - boxes[..., :2]).abs() * 2 < boxes[..., 2:]).all(-1)
