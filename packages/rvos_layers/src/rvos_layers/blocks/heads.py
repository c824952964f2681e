"""What reads a query: class head, box head, and the controller that makes its mask; and what they make of it.

Boxes are (cx, cy, w, h), or only (cx, cy), in fractions of the padded image.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor, nn

CLASS_PRIOR = -4.595  # a probability of 0.01: few queries are on the object
BOX_PRIOR = -2.0  # a width and height of 0.12
EPSILON = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundQueries:
    """Scored queries of E sentences in T frames, Q a frame. Models add what else they need to draw masks.

    Attributes:
        logits: [E, T, Q, K], how surely a query is on the object.
        boxes: [E, T, Q, 4] as (cx, cy, w, h) in fractions of the frame.
        states: [E, T, Q, C], from which masks are drawn.
        centres: [E, T, Q, 2], to which masks are relative, in fractions of the frame.
    """

    logits: Tensor
    boxes: Tensor
    states: Tensor
    centres: Tensor

    def keep(self, queries: Tensor) -> Self:
        """Only some queries of each sentence: one, int64[E], or n, int64[E, n]."""
        queries = queries[:, None] if queries.ndim == 1 else queries
        each = torch.arange(len(queries), device=queries.device)[:, None, None]
        frames = torch.arange(self.logits.shape[1], device=queries.device)[:, None]
        kept = {
            name: getattr(self, name)[each, frames, queries[:, None]]
            for name in ("logits", "boxes", "states", "centres")
        }
        return replace(self, **kept)

    def by_question(self, sizes: Tensor) -> tuple[Tensor, Tensor]:
        """States [E*T, Q, C] and centres [E*T, Q, 2] in pixels, for clips of `sizes` [1 or E, 2] as (width, height)."""
        return self.states.flatten(0, 1), (self.centres * sizes[:, None, None]).flatten(0, 1)


class MLP(nn.Module):
    """Linear layers with ReLU between them, none after the last.

    Args:
        widths: sizes from input to output, e.g. `(256, 256, 256, 4)` for three layers.
    """

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(narrow, wide) for narrow, wide in pairwise(widths))

    @property
    def last(self) -> nn.Linear:
        """The output layer, which models initialise in ways of their own."""
        layer = self.layers[-1]
        assert isinstance(layer, nn.Linear)
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """Map `[..., widths[0]]` to `[..., widths[-1]]`."""
        *hidden, last = self.layers
        for layer in hidden:
            x = layer(x).relu()
        return last(x)


def class_head(channels: int, classes: int) -> nn.Linear:
    """Logits of a query, low at first."""
    head = nn.Linear(channels, classes)
    nn.init.constant_(head.bias, CLASS_PRIOR)
    return head


def box_head(channels: int, layer: int) -> MLP:
    """How a query moves its reference: at first not at all; that of the first layer starts from small boxes."""
    head = MLP(channels, channels, channels, 4)
    nn.init.zeros_(head.last.weight)
    nn.init.zeros_(head.last.bias)
    if layer == 0:
        nn.init.constant_(head.last.bias[2:], BOX_PRIOR)
    return head


def mask_controller(channels: int, parameters: int) -> MLP:
    """What a query supplies to a `DynamicMaskHead`."""
    controller = MLP(channels, channels, channels, parameters)
    for layer in controller.layers:
        assert isinstance(layer, nn.Linear)
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    return controller


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
