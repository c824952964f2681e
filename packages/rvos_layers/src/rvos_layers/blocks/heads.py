"""Heads that read a query: class head, box head and mask controller, and `QueryOutputs`, what they say.

The heads are initialised as published. Boxes are (cx, cy, w, h), or only (cx, cy), in fractions of the padded frame.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Self

import torch
from program_kit.torch.precision import keep_float32
from torch import Tensor, nn

CLASS_PRIOR = -4.595  # logit of 0.01: few queries are on the object
BOX_PRIOR = -2.0  # logit of a width and height of 0.12
EPSILON = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryOutputs:
    """Scored queries of E expressions in T frames, Q a frame. Models add what else their masks need.

    Attributes:
        logits: [E, T, Q, K], whether a query is on the object.
        boxes: [E, T, Q, 4] as (cx, cy, w, h) in fractions of the frame.
        states: [E, T, Q, C], the queries; masks are made from them.
        centres: [E, T, Q, 2] as (x, y) in fractions of the frame; masks are relative to them.
    """

    logits: Tensor
    boxes: Tensor
    states: Tensor
    centres: Tensor

    def select(self, queries: Tensor) -> Self:
        """Only some queries of each expression: one, int64[E], or n, int64[E, n]."""
        queries = queries[:, None] if queries.ndim == 1 else queries
        expressions = torch.arange(len(queries), device=queries.device)[:, None, None]
        frames = torch.arange(self.logits.shape[1], device=queries.device)[:, None]
        selected = {
            name: getattr(self, name)[expressions, frames, queries[:, None]]
            for name in ("logits", "boxes", "states", "centres")
        }
        return replace(self, **selected)

    def mask_inputs(self, sizes: Tensor) -> tuple[Tensor, Tensor]:
        """Input of a mask head, one row for each pair of frame and expression.

        Args:
            sizes: [1 or E, 2] as (width, height) of the clips, in pixels.

        Returns:
            states [E*T, Q, C], and centres [E*T, Q, 2] in pixels.
        """
        return self.states.flatten(0, 1), (self.centres * sizes[:, None, None]).flatten(0, 1)


class MLP(nn.Module):
    """Linear layers with ReLU between them, none after the last.

    Args:
        widths: sizes from input to output, e.g. `(256, 256, 256, 4)` for three layers.
    """

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(inputs, outputs) for inputs, outputs in pairwise(widths))

    @property
    def last(self) -> nn.Linear:
        """The output layer."""
        layer = self.layers[-1]
        assert isinstance(layer, nn.Linear)
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """Map `[..., widths[0]]` to `[..., widths[-1]]`."""
        *inner, last = self.layers
        for layer in inner:
            x = layer(x).relu()
        return last(x)


class ClassHead(nn.Linear):
    """Maps a query to its class logits, which are low before training; at least float32, as they choose the query."""

    def __init__(self, hidden_size: int, classes: int) -> None:
        super().__init__(hidden_size, classes)
        nn.init.constant_(self.bias, CLASS_PRIOR)
        keep_float32(self)

    def forward(self, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride] - the name alone
        """Logits [..., classes] of queries [..., C]."""
        return super().forward(at_least_float32(x))


def box_head(hidden_size: int, layer: int) -> MLP:
    """Maps a query to the change of its reference box (see `refine`).

    Before training it changes nothing; the head of the first layer makes small boxes.
    """
    head = MLP(hidden_size, hidden_size, hidden_size, 4)
    nn.init.zeros_(head.last.weight)
    nn.init.zeros_(head.last.bias)
    if layer == 0:
        nn.init.constant_(head.last.bias[2:], BOX_PRIOR)
    return head


def mask_controller(hidden_size: int, parameter_count: int) -> MLP:
    """Maps a query to the parameters of its `DynamicMaskHead`."""
    controller = MLP(hidden_size, hidden_size, hidden_size, parameter_count)
    for layer in controller.layers:
        assert isinstance(layer, nn.Linear)
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    return controller


def at_least_float32(x: Tensor) -> Tensor:
    """`x`, in float32 if it has half precision, which is too coarse for positions in a frame."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def inverse_sigmoid(x: Tensor) -> Tensor:
    """Logit of probabilities, which are kept `EPSILON` away from 0 and 1."""
    x = x.clamp(0, 1)
    return (x.clamp(min=EPSILON) / (1 - x).clamp(min=EPSILON)).log()


def refine(reference: Tensor, change: Tensor) -> Tensor:
    """Move references by a box head's output.

    Args:
        reference: [..., 2] centres or [..., 4] boxes, in 0..1. After a centre, width and height come from `change`
            alone.
        change: [..., 4], in logit space.

    Returns:
        [..., 4] boxes in 0..1.
    """
    reference, change = at_least_float32(reference), at_least_float32(change)
    known = reference.shape[-1]
    moved = change[..., :known] + inverse_sigmoid(reference)
    if known == 4:
        return moved.sigmoid()
    return torch.cat((moved, change[..., known:]), dim=-1).sigmoid()
