"""Which queries stand for the object in training: several at first sight of it, as many as fit it well.

SimOTA (Ge et al. 2021, YOLOX, section 2) for one object an image, as UNINEXT uses it in place of one-to-one matching.
Letters: B images, each with one object, N queries or tokens.
"""

from dataclasses import dataclass

import torch
from rvos_training.losses.terms import Weights, box_distance, giou, label_cost
from torch import Tensor

MOST = 10  # of the best overlaps, whose sum says how many stand for an object
ELSEWHERE = 1e3  # cost of a candidate that does not lie in the object's box; only taken where none does
NEVER = 1e6  # cost of what may not be chosen at all


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """What one stage of the network offers.

    Attributes:
        logits: [B, N] how surely each is the object.
        boxes: [B, N, 4] as (cx, cy, w, h) in fractions of the frame.
        centres: [B, N, 2] or [N, 2] (x, y), where each was looking from, in fractions of the frame.
        allowed: bool [N] which may be chosen; None for all.
    """

    logits: Tensor
    boxes: Tensor
    centres: Tensor
    allowed: Tensor | None = None


@torch.no_grad()
def stand_ins(candidates: Candidates, boxes: Tensor, visible: Tensor, weights: Weights) -> Tensor:
    """The candidates that stand for each image's object, bool [B, N].

    Args:
        candidates: to choose from.
        boxes: [B, 4] the objects' boxes.
        visible: bool [B]; an object that is not visible has no stand-ins.
        weights: of the costs; masks have none.
    """
    truth = boxes[:, None]
    overlaps = overlap(candidates.boxes, truth)
    cost = (
        weights.label * label_cost(candidates.logits)
        + weights.box * box_distance(candidates.boxes, truth)
        - weights.giou * giou(candidates.boxes, truth)
        + ELSEWHERE * ~_within(candidates.centres, truth)
    )
    if candidates.allowed is not None:
        cost = cost + NEVER * ~candidates.allowed
        overlaps = overlaps * candidates.allowed
    number = overlaps.topk(min(MOST, overlaps.shape[1])).values.sum(1).int().clamp(min=1)
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
