"""The terms of matching costs and losses, and their weights."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import box_convert, sigmoid_focal_loss

ALPHA, GAMMA = 0.25, 2.0  # of every focal term
COST_EPSILON = 1e-8
DICE_SMOOTHING = 1.0
BOX_EPSILON = 1e-6  # added to numerator and denominator, as published: boxes may have no area


@dataclass(frozen=True, slots=True, kw_only=True)
class LossWeights:
    """Weights of the terms of a cost or loss; 0 leaves a term out.

    Attributes:
        label: whether a query is on the object.
        box: L1 distance of boxes.
        giou: generalised intersection over union of boxes.
        focal, dice: of masks.

    Raises:
        ValueError: a weight is negative.
    """

    label: float
    box: float
    giou: float
    focal: float
    dice: float

    def __post_init__(self) -> None:
        if min(self.label, self.box, self.giou, self.focal, self.dice) < 0:
            raise ValueError(f"loss weights must not be negative: {self}")


def label_cost(logits: Tensor) -> Tensor:
    """Focal cost of taking a query for the object, relative to not taking it; logits of any shape."""
    p = logits.sigmoid()
    yes = ALPHA * (1 - p) ** GAMMA * -(p + COST_EPSILON).log()
    no = (1 - ALPHA) * p**GAMMA * -(1 - p + COST_EPSILON).log()
    return yes - no


def box_distance(a: Tensor, b: Tensor) -> Tensor:
    """L1 distance [...] of boxes [..., 4] that broadcast to each other."""
    return (a - b).abs().sum(-1)


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised intersection over union (Rezatofighi et al., 2019) of boxes (cx, cy, w, h) that broadcast.

    Args:
        a, b: [..., 4] in fractions of the frame.

    Returns:
        [...] in -1..1.
    """
    a, b = (box_convert(boxes, "cxcywh", "xyxy") for boxes in torch.broadcast_tensors(a, b))
    overlap = _area(torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:]))
    around = _area(torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:]))
    union = _area(a[..., :2], a[..., 2:]) + _area(b[..., :2], b[..., 2:]) - overlap
    return (overlap + BOX_EPSILON) / (union + BOX_EPSILON) - (around - union + BOX_EPSILON) / (around + BOX_EPSILON)


def mask_focal(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean focal loss over pixels, [B, n], of logits [B, n, P] and ground truth [B, P]."""
    return sigmoid_focal_loss(logits, truth[:, None].expand_as(logits), ALPHA, GAMMA).mean(-1)


def dice_coefficient(logits: Tensor, truth: Tensor) -> Tensor:
    """Overlap in 0..1, [B, n], of logits [B, n, P] and ground truth [B, P]; 1 is best."""
    p = logits.sigmoid()
    overlap = (p * truth[:, None]).sum(-1)
    return (2 * overlap + DICE_SMOOTHING) / (p.sum(-1) + truth.sum(-1)[:, None] + DICE_SMOOTHING)


def mask_iou(logits: Tensor, truth: Tensor) -> Tensor:
    """Intersection over union in 0..1, [B, n], of masks with logits [B, n, P] above 0 and ground truth [B, P]."""
    masks, truth = logits > 0, truth[:, None] > 0.5
    return (masks & truth).sum(-1) / (masks | truth).sum(-1).clamp(min=1)


def _area(corner: Tensor, opposite: Tensor) -> Tensor:
    return (opposite - corner).clamp(min=0).prod(-1)
