"""Losses of the matched queries.

Source: `models/criterion.py` of SOC, ReferFormer and MUTR. They differ in how masks are compared (`mask_views`) and in
what sums are divided by; SOC also compares its clip queries with the expression.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torchvision.ops import sigmoid_focal_loss

from rvos_training.losses.matcher import Matcher
from rvos_training.losses.targets import Predictions, Targets
from rvos_training.losses.terms import (
    ALPHA,
    GAMMA,
    LossWeights,
    box_distance,
    dice_coefficient,
    giou,
    mask_focal,
    mask_iou,
)

Counter = Callable[[Targets], int]


def all_frames(targets: Targets) -> int:
    """The number that SOC divides by: all frames of the batch."""
    return targets.visible.numel()


def visible_frames(targets: Targets) -> int:
    """The number that ReferFormer and MUTR divide by: frames of the batch that show the object."""
    return int(targets.visible.sum())


@dataclass(frozen=True, slots=True)
class Losses:
    """Losses of one batch.

    Attributes:
        terms: unweighted, by name; `label` of the last layer, `label_0` of layer 0.
        total: weighted sum over all terms and layers, which training minimises.
        queries: int64[layers, B], the matched queries.
    """

    terms: dict[str, Tensor]
    total: Tensor
    queries: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """Matches every decoder layer by itself and sums the losses.

    Attributes:
        matcher: of the queries; the losses use `matcher.view` and `matcher.faithful` too.
        loss_weights: of the terms of the loss.
        similarity_weight: of the similarity of clip query and expression; 0 for a network without one.
        count: the number that sums are divided by; it is averaged over processes and at least 1.
        quality: the label of the matched query tells how well its mask fits, in place of whether the object is visible,
            so that scores rank masks. The published networks are trained without.
    """

    matcher: Matcher
    loss_weights: LossWeights
    count: Counter
    similarity_weight: float = 0.0
    quality: bool = False

    def __call__(self, layers: Sequence[Predictions], targets: Targets) -> Losses:
        """Losses of all decoder layers' predictions, the last layer last."""
        count = _averaged_over_processes(self.count(targets), targets.visible.device)
        terms: dict[str, Tensor] = {}
        queries = []
        for layer, predictions in enumerate(layers):
            queries.append(self.matcher(predictions, targets))
            suffix = "" if layer == len(layers) - 1 else f"_{layer}"
            found = self._of_layer(predictions, targets, queries[-1], count)
            terms |= {name + suffix: value for name, value in found.items()}
        total = sum(self._weight(name) * value for name, value in terms.items())
        assert isinstance(total, Tensor)
        return Losses(terms, total, torch.stack(queries))

    def _weight(self, name: str) -> float:
        name = name.split("_")[0]
        return self.similarity_weight if name == "similarity" else getattr(self.loss_weights, name)

    def _of_layer(
        self, predictions: Predictions, targets: Targets, queries: Tensor, count: Tensor
    ) -> dict[str, Tensor]:
        each = torch.arange(len(queries), device=queries.device)
        boxes = predictions.boxes[each, :, queries]
        boxed = torch.ones_like(targets.visible) if self.matcher.faithful else targets.visible
        masks = predictions.predict_masks(queries[:, None])
        focal, dice = self._of_masks(masks, targets.masks)
        if self.quality:
            label = _of_quality(predictions.logits, self._overlap(masks, targets), queries)
        else:
            label = _of_labels(predictions.logits, targets.visible, queries)
        terms = {
            "label": label / count,
            "box": (box_distance(boxes, targets.boxes) * boxed).sum() / count,
            "giou": ((1 - giou(boxes, targets.boxes)) * boxed).sum() / count,
            "focal": focal / count,
            "dice": dice / count,
        }
        if self.similarity_weight and predictions.similarity is not None:
            terms["similarity"] = cross_entropy(predictions.similarity, queries)
        return terms

    def _of_masks(self, logits: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Focal and dice loss, summed over the parts of the view and over clips, of logits [B, T, 1, h, w]."""
        parts = [
            torch.stack((mask_focal(predicted, truth).sum(), (1 - dice_coefficient(predicted, truth)).sum()))
            for predicted, truth in self.matcher.view(logits, masks)
        ]
        focal, dice = torch.stack(parts).sum(0)
        return focal, dice

    @torch.no_grad()
    def _overlap(self, logits: Tensor, targets: Targets) -> Tensor:
        """Intersection over union [B, T] of masks and ground truth, 0 where the object is not visible.

        Where the view has one part, all frames of a clip have its overlap.
        """
        parts = [mask_iou(predicted, truth)[:, 0] for predicted, truth in self.matcher.view(logits, targets.masks)]
        return torch.stack(parts, 1).expand_as(targets.visible) * targets.visible


def _of_labels(logits: Tensor, visible: Tensor, queries: Tensor) -> Tensor:
    """Focal loss summed over all logits [B, T, Q, K]: the target is class 0 of the matched query where visible."""
    return sigmoid_focal_loss(logits, _label_targets(logits, visible, queries), ALPHA, GAMMA, reduction="sum")


def _of_quality(logits: Tensor, overlap: Tensor, queries: Tensor) -> Tensor:
    """Quality focal loss (Li et al., 2020) summed over all logits [B, T, Q, K]: the target is the overlap [B, T]."""
    targets = _label_targets(logits, overlap, queries)
    entropy = binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (entropy * (logits.sigmoid() - targets).abs() ** GAMMA).sum()


def _label_targets(logits: Tensor, values: Tensor, queries: Tensor) -> Tensor:
    """Zeros but for class 0 of the matched query, which gets `values` [B, T]."""
    targets = torch.zeros_like(logits)
    targets[torch.arange(len(queries), device=queries.device), :, queries, 0] = values.to(targets)
    return targets


def _averaged_over_processes(count: int, device: torch.device) -> Tensor:
    total = torch.tensor(float(count), device=device)
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(total)
        total /= dist.get_world_size()
    return total.clamp(min=1)
