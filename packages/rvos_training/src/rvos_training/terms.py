"""The quantities of which matching costs and losses are made, and how much each weighs."""

from dataclasses import dataclass

from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

ALPHA, GAMMA = 0.25, 2.0  # of every focal term
COST_EPSILON = 1e-8
DICE_SMOOTHING = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """How much each term counts; 0 leaves it out.

    Attributes:
        label: whether a query is on the object.
        box: L1 distance of boxes.
        giou: their generalised intersection over union.
        focal, dice: of masks.
    """

    label: float
    box: float
    giou: float
    focal: float
    dice: float

    def __post_init__(self) -> None:
        if min(self.label, self.box, self.giou, self.focal, self.dice) < 0:
            raise ValueError(f"weights must not be negative: {self}")


def label_cost(logits: Tensor) -> Tensor:
    """What it costs to call a query the object rather than not, of logits of any shape."""
    p = logits.sigmoid()
    yes = ALPHA * (1 - p) ** GAMMA * -(p + COST_EPSILON).log()
    no = (1 - ALPHA) * p**GAMMA * -(1 - p + COST_EPSILON).log()
    return yes - no


def mask_focal(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean focal loss over pixels, [B, n], of logits [B, n, P] and truth [B, P]."""
    return sigmoid_focal_loss(logits, truth[:, None].expand_as(logits), ALPHA, GAMMA).mean(-1)


def dice_coefficient(logits: Tensor, truth: Tensor) -> Tensor:
    """Overlap in 0..1, [B, n], of logits [B, n, P] and truth [B, P]; 1 is best."""
    p = logits.sigmoid()
    overlap = (p * truth[:, None]).sum(-1)
    return (2 * overlap + DICE_SMOOTHING) / (p.sum(-1) + truth.sum(-1)[:, None] + DICE_SMOOTHING)
