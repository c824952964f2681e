"""Boxes as the decoder refines them: (cx, cy, w, h) or only (cx, cy), in fractions of the padded image."""

import torch
from torch import Tensor

EPSILON = 1e-5


def inverse_sigmoid(x: Tensor) -> Tensor:
    """Logit of probabilities; those below `EPSILON` of 0 or 1 count as that far from it."""
    x = x.clamp(0, 1)
    return (x.clamp(min=EPSILON) / (1 - x).clamp(min=EPSILON)).log()


def refine(reference: Tensor, change: Tensor) -> Tensor:
    """Move references by a box head's output.

    Args:
        reference: [..., 2] centres or [..., 4] boxes, in 0..1. Centres lend the box their place only.
        change: [..., 4], in logit space.

    Returns:
        [..., 4] boxes in 0..1.
    """
    known = reference.shape[-1]
    place = change[..., :known] + inverse_sigmoid(reference)
    if known == 4:
        return place.sigmoid()
    return torch.cat((place, change[..., known:]), dim=-1).sigmoid()
