"""Where a model's queries think the referred objects are, before any mask is drawn."""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor


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
