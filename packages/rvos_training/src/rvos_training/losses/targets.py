"""Predictions of a network in training, and the ground truth.

Shapes: B clips, T frames, Q queries, K classes, H x W the padded frames, h x w mask logits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """The predictions of one decoder layer.

    Masks are computed on demand: those of all queries without gradients, to match the queries; those of the matched
    queries with gradients, for the losses. The gradient is that of computing all, for a fraction of the memory.

    Attributes:
        logits: [B, T, Q, K]; class 0 is "the object referred to".
        boxes: [B, T, Q, 4] as (cx, cy, w, h) in fractions of the unpadded frame.
        predict_masks: mask logits [B, T, n, h, w] of n queries of each clip, int64[B, n].
        similarity: [B, Q], how well each query fits the expression; None for a network that does not predict it.
    """

    logits: Tensor
    boxes: Tensor
    predict_masks: Callable[[Tensor], Tensor]
    similarity: Tensor | None = None

    @property
    def queries(self) -> int:
        """Q."""
        return self.logits.shape[2]

    def float(self) -> Self:
        """The same predictions in float32."""
        return type(self)(
            logits=self.logits.float(),
            boxes=self.boxes.float(),
            predict_masks=lambda queries: self.predict_masks(queries).float(),
            similarity=None if self.similarity is None else self.similarity.float(),
        )

    def predict_all_masks(self) -> Tensor:
        """Mask logits [B, T, Q, h, w] of all queries."""
        queries = torch.arange(self.queries, device=self.logits.device)
        return self.predict_masks(queries.expand(len(self.logits), -1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """The one object that each clip's expression refers to.

    Attributes:
        boxes: float32[B, T, 4] as (cx, cy, w, h) in fractions of the unpadded frame; arbitrary where not visible.
        masks: bool[B, T, H, W], padded like the frames.
        visible: bool[B, T].
        labels: uint8[B, T, H, W], all objects of the frames, each with a number of its own, 0 where there is none; None
            where it is not known for every clip.
    """

    boxes: Tensor
    masks: Tensor
    visible: Tensor
    labels: Tensor | None = None

    def __post_init__(self) -> None:
        clips = tuple(self.visible.shape)
        if self.boxes.shape != (*clips, 4) or self.masks.shape[:2] != clips or self.masks.ndim != 4:
            raise ValueError(
                f"boxes {list(self.boxes.shape)}, masks {list(self.masks.shape)} and visible {list(clips)} must be "
                "[B, T, 4], [B, T, H, W] and [B, T] of the same clips"
            )

    def to(self, device: torch.device | str) -> Self:
        """The same targets on another device."""
        return type(self)(
            boxes=self.boxes.to(device),
            masks=self.masks.to(device),
            visible=self.visible.to(device),
            labels=None if self.labels is None else self.labels.to(device),
        )
