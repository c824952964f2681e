"""Which query stands for the object: the cheapest one, the same in all frames of a clip.

A clip has one object, so the linear assignment of the published code is the smallest of Q costs.

Source: `models/matcher.py` of SOC, ReferFormer and MUTR.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from rvos_training.errors import TrainingError
from rvos_training.losses.mask_views import MaskView
from rvos_training.losses.targets import Predictions, Targets
from rvos_training.losses.terms import Weights, box_distance, dice_coefficient, giou, label_cost, mask_focal


@dataclass(frozen=True, slots=True, kw_only=True)
class Matcher:
    """Finds each clip's query.

    Attributes:
        weights: of the costs.
        view: how masks are compared.
        faithful: as published, boxes of frames without the object count too (there they pull towards the place of an
            empty box), and a clip that never shows it is an error. By default such frames have no box, and such a
            clip takes the query that is least sure and draws least.
    """

    weights: Weights
    view: MaskView
    faithful: bool = False

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets) -> Tensor:
        """The matched query of every clip, int64[B]."""
        return self.costs(predictions, targets).argmin(1)

    @torch.no_grad()
    def costs(self, predictions: Predictions, targets: Targets) -> Tensor:
        """What every query would cost, [B, Q].

        Raises:
            TrainingError: faithful, and a clip of several frames shows its object in none.
        """
        if self.faithful and targets.visible.shape[1] > 1 and not targets.visible.any(1).all():
            raise TrainingError(
                "a clip shows its object in no frame, and the published matching has no answer to that: leave such "
                "clips out, or train without --faithful"
            )
        seen = targets.visible | ~targets.visible.any(
            1, keepdim=True
        )  # what is never visible, is looked for everywhere
        boxed = torch.ones_like(targets.visible) if self.faithful else targets.visible
        boxes = targets.boxes[:, :, None]
        return (
            self.weights.label * _mean_over(label_cost(predictions.logits[..., 0]), seen)
            + self.weights.box * _mean_over(box_distance(predictions.boxes, boxes), boxed)
            - self.weights.giou * _mean_over(giou(predictions.boxes, boxes), boxed)
            + self._mask_costs(predictions.draw_all(), targets.masks)
        )

    def _mask_costs(self, logits: Tensor, masks: Tensor) -> Tensor:
        parts = [self._mask_cost(*part) for part in self.view(logits, masks)]
        return torch.stack(parts).mean(0)

    def _mask_cost(self, logits: Tensor, truth: Tensor) -> Tensor:
        cost = -self.weights.dice * dice_coefficient(logits, truth)
        return cost + self.weights.focal * mask_focal(logits, truth) if self.weights.focal else cost


def _mean_over(values: Tensor, frames: Tensor) -> Tensor:
    """Mean [B, Q] of [B, T, Q] over the frames bool[B, T]; 0 where there is none."""
    counted = values * frames[..., None]
    return counted.sum(1) / frames.sum(1).clamp(min=1)[:, None]
