"""What the matched queries should have said.

Source: `models/criterion.py` of SOC, ReferFormer and MUTR, which differ in how masks are compared (`mask_views`), in
what sums are divided by, and in that SOC's clip queries are compared with the sentence as well.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchvision.ops import sigmoid_focal_loss

from rvos_training.losses.matcher import Matcher
from rvos_training.losses.targets import Predictions, Targets
from rvos_training.losses.terms import ALPHA, GAMMA, Weights, box_distance, dice_coefficient, giou, mask_focal

Counter = Callable[[Targets], int]


def all_frames(targets: Targets) -> int:
    """What SOC divides by: every frame of the batch, whether the object is visible or not."""
    return targets.visible.numel()


def visible_frames(targets: Targets) -> int:
    """What ReferFormer and MUTR divide by: the frames of the batch that show the object."""
    return int(targets.visible.sum())


@dataclass(frozen=True, slots=True)
class Losses:
    """Losses of one batch.

    Attributes:
        terms: unweighted, by name; those of the last layer are called `label`, those of layer 0 `label_0`.
        total: weighted sum over all terms and layers, to be minimised.
        queries: int64[layers, B], the matched queries.
    """

    terms: dict[str, Tensor]
    total: Tensor
    queries: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """Matches every decoder layer by itself and adds up its losses.

    Attributes:
        matcher: finds the queries; `matcher.view` and `matcher.faithful` serve the losses too.
        weights: of the losses.
        similarity: weight of the likeness of clip query and sentence; 0 where the network has none.
        count: what sums are divided by, before it is averaged over processes and raised to 1.
    """

    matcher: Matcher
    weights: Weights
    count: Counter
    similarity: float = 0.0

    def __call__(self, layers: Sequence[Predictions], targets: Targets) -> Losses:
        """Losses of the answers of all decoder layers, the last one last."""
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
        return self.similarity if name == "similarity" else getattr(self.weights, name)

    def _of_layer(
        self, predictions: Predictions, targets: Targets, queries: Tensor, count: Tensor
    ) -> dict[str, Tensor]:
        each = torch.arange(len(queries), device=queries.device)
        boxes = predictions.boxes[each, :, queries]
        boxed = torch.ones_like(targets.visible) if self.matcher.faithful else targets.visible
        focal, dice = self._of_masks(predictions.draw(queries[:, None]), targets.masks)
        terms = {
            "label": _of_labels(predictions.logits, targets.visible, queries) / count,
            "box": (box_distance(boxes, targets.boxes) * boxed).sum() / count,
            "giou": ((1 - giou(boxes, targets.boxes)) * boxed).sum() / count,
            "focal": focal / count,
            "dice": dice / count,
        }
        if self.similarity and predictions.similarity is not None:
            terms["similarity"] = cross_entropy(predictions.similarity, queries)
        return terms

    def _of_masks(self, logits: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Focal and dice loss, summed over the parts of the view and over clips, of logits [B, T, 1, h, w]."""
        parts = [
            torch.stack((mask_focal(drawn, truth).sum(), (1 - dice_coefficient(drawn, truth)).sum()))
            for drawn, truth in self.matcher.view(logits, masks)
        ]
        focal, dice = torch.stack(parts).sum(0)
        return focal, dice


def _of_labels(logits: Tensor, visible: Tensor, queries: Tensor) -> Tensor:
    """Focal loss summed over all logits [B, T, Q, K]: true is class 0 of the matched query where it is visible."""
    truth = torch.zeros_like(logits)
    truth[torch.arange(len(queries), device=queries.device), :, queries, 0] = visible.to(truth)
    return sigmoid_focal_loss(logits, truth, ALPHA, GAMMA, reduction="sum")


def _averaged_over_processes(count: int, device: torch.device) -> Tensor:
    total = torch.tensor(float(count), device=device)
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(total)
        total /= dist.get_world_size()
    return total.clamp(min=1)
