"""The losses of propagated masks: cross entropy of the hardest pixels, and soft Jaccard.

Section 5.1 of the AOT paper; `networks/layers/loss.py` of the published code. Shape letters: B clips, T frames, S slots
with the background, H x W pixels.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


@dataclass(frozen=True, slots=True)
class PropagationLosses:
    """Losses of one batch.

    Attributes:
        terms: scalars by name.
        total: the scalar that training minimises.
    """

    terms: dict[str, Tensor]
    total: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class PropagationCriterion:
    """Both losses at equal weight, as published.

    Attributes:
        top_k_fraction: fraction of a frame's pixels, those of highest loss, that the cross entropy averages.
        reference_weight: weight of the first frame, whose masks are given: it teaches to read the memory.

    Raises:
        ValueError: a value is out of range; says which.
    """

    top_k_fraction: float
    reference_weight: float

    def __post_init__(self) -> None:
        if not 0 < self.top_k_fraction <= 1:
            raise ValueError(f"top_k_fraction must be above 0 and at most 1, not {self.top_k_fraction}")
        if self.reference_weight < 0:
            raise ValueError(f"reference_weight must not be negative, not {self.reference_weight}")

    def __call__(self, logits: Tensor, labels: Tensor) -> PropagationLosses:
        """Losses of logits [B, T, S, H, W], compared with the slots int64 [B, T, H, W] of the ground truth."""
        entropy = top_k_cross_entropy(logits.flatten(0, 1), labels.flatten(0, 1), self.top_k_fraction).view(
            labels.shape[:2]
        )
        overlap = soft_jaccard(logits.flatten(0, 1), labels.flatten(0, 1)).view(labels.shape[:2])
        each = (entropy + overlap) / 2
        terms = {
            "cross_entropy": entropy[:, 1:].mean(),
            "jaccard": overlap[:, 1:].mean(),
            "reference": each[:, 0].mean(),
        }
        total = (terms["cross_entropy"] + terms["jaccard"]) / 2 + self.reference_weight * terms["reference"]
        return PropagationLosses(terms, total)


def top_k_cross_entropy(logits: Tensor, labels: Tensor, fraction: float) -> Tensor:
    """Mean cross entropy [N] of the `fraction` of pixels where it is highest; logits [N, S, H, W], labels [N, H, W]."""
    each = F.cross_entropy(logits, labels, reduction="none").flatten(1)
    count = max(1, int(fraction * each.shape[1]))
    return (each if count == each.shape[1] else each.topk(count, dim=1, sorted=False).values).mean(1)


def soft_jaccard(logits: Tensor, labels: Tensor) -> Tensor:
    """One minus soft intersection over union [N], averaged over the objects that a frame shows; 0 without objects."""
    probabilities = logits.softmax(dim=1)[:, 1:].flatten(2)
    truth = F.one_hot(labels, logits.shape[1]).permute(0, 3, 1, 2)[:, 1:].flatten(2).to(probabilities.dtype)
    sizes = truth.sum(-1)
    shared = (probabilities * truth).sum(-1)
    union = probabilities.sum(-1) + sizes - shared
    shown = sizes > 0
    missed = torch.where(shown, 1 - shared / torch.where(shown, union, 1), 0)
    return missed.sum(1) / shown.sum(1).clamp(min=1)
