"""Boxes, and how far two of them are apart."""

import torch
from torch import Tensor
from torchvision.ops import box_convert

EPSILON = 1e-6  # added to both sides of every quotient, as published: boxes may have no area


def box_distance(a: Tensor, b: Tensor) -> Tensor:
    """Sum of the four absolute differences, of boxes [..., 4] that broadcast to each other."""
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
    return (overlap + EPSILON) / (union + EPSILON) - (around - union + EPSILON) / (around + EPSILON)


def _area(corner: Tensor, opposite: Tensor) -> Tensor:
    return (opposite - corner).clamp(min=0).prod(-1)
