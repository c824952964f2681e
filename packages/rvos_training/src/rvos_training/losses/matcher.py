"""Matching: the query of lowest cost predicts the object, the same query in all frames of a clip.

A clip has one object, so the linear assignment of the published code is the minimum of Q costs.

Source: `models/matcher.py` of SOC, ReferFormer and MUTR.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from rvos_training.errors import TrainingError
from rvos_training.losses.mask_views import MaskView
from rvos_training.losses.targets import Predictions, Targets
from rvos_training.losses.terms import LossWeights, box_distance, dice_coefficient, giou, label_cost, mask_focal


@dataclass(frozen=True, slots=True, kw_only=True)
class Matcher:
    """Matches one query of each clip.

    Attributes:
        cost_weights: of the terms of the cost.
        view: at which pixels masks are compared.
        faithful: as published, frames without the object have a box too, an empty one, and a clip that never shows its
            object is an error. By default such frames have no box, and such a clip takes the query of lowest
            probability and smallest masks.
    """

    cost_weights: LossWeights
    view: MaskView
    faithful: bool = False

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets) -> Tensor:
        """The matched query of every clip, int64[B]."""
        return self.costs(predictions, targets).argmin(1)

    @torch.no_grad()
    def costs(self, predictions: Predictions, targets: Targets) -> Tensor:
        """The cost [B, Q] of every query.

        Raises:
            TrainingError: faithful, and a clip of several frames shows its object in none.
        """
        if self.faithful and targets.visible.shape[1] > 1 and not targets.visible.any(1).all():
            raise TrainingError(
                "no frame of a clip shows its object, which the published matching cannot handle; remove such clips, "
                "or train without --faithful"
            )
        never_visible = ~targets.visible.any(1, keepdim=True)
        labelled = targets.visible | never_visible
        boxed = torch.ones_like(targets.visible) if self.faithful else targets.visible
        boxes = targets.boxes[:, :, None]
        return (
            self.cost_weights.label * _mean_over(label_cost(predictions.logits[..., 0]), labelled)
            + self.cost_weights.box * _mean_over(box_distance(predictions.boxes, boxes), boxed)
            - self.cost_weights.giou * _mean_over(giou(predictions.boxes, boxes), boxed)
            + self._mask_costs(predictions.predict_all_masks(), targets.masks)
        )

    def _mask_costs(self, logits: Tensor, masks: Tensor) -> Tensor:
        parts = [self._mask_cost(*part) for part in self.view(logits, masks)]
        return torch.stack(parts).mean(0)

    def _mask_cost(self, logits: Tensor, truth: Tensor) -> Tensor:
        cost = -self.cost_weights.dice * dice_coefficient(logits, truth)
        return cost + self.cost_weights.focal * mask_focal(logits, truth) if self.cost_weights.focal else cost


def _mean_over(values: Tensor, frames: Tensor) -> Tensor:
    """Mean [B, Q] of [B, T, Q] over the frames bool[B, T]; 0 where there is none."""
    counted = values * frames[..., None]
    return counted.sum(1) / frames.sum(1).clamp(min=1)[:, None]
