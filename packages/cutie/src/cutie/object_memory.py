"""What an object looks like, in a few vectors that are summed over the frames of the memory."""

from typing import NamedTuple

import torch
from program_kit.torch.precision import keep_float32
from torch import Tensor, nn

from cutie.positions import sine_positions


class ObjectSummary(NamedTuple):
    """Sums over pixels, and over frames when several are added; their quotient is what the object looks like.

    Attributes:
        values: weighted sums float32 [N, queries, C].
        area: sums of the weights float32 [N, queries, 1].
    """

    values: Tensor
    area: Tensor

    def plus(self, other: "ObjectSummary") -> "ObjectSummary":
        """The summary of the frames of both."""
        return ObjectSummary(self.values + other.values, self.area + other.area)

    @property
    def mean(self) -> Tensor:
        """The weighted mean [N, queries, C]."""
        return self.values / (self.area + 1e-4)


class ObjectSummarizer(nn.Module):
    """Summarises the memory values of a frame; the first half of the queries the object, the second what is around."""

    def __init__(self, dim: int, queries: int):
        super().__init__()
        self.queries = queries
        self.project = nn.Linear(dim, dim)
        # What they give is summed over a whole video.
        self.values = keep_float32(nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim)))
        self.weights = keep_float32(nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, queries)))

    def forward(self, values: Tensor, masks: Tensor) -> ObjectSummary:
        """Summaries of N objects.

        Args:
            values: memory values [N, C, h, w].
            masks: share of each token that belongs to the object, [N, h, w].
        """
        height, width = values.shape[-2:]
        tokens = self.project(values.flatten(2).mT).float()
        tokens = tokens + sine_positions(height, width, tokens.shape[-1], tokens.device)
        inside = masks.flatten(1)[..., None]
        half = self.queries // 2
        allowed = torch.cat([inside.expand(-1, -1, half), (1 - inside).expand(-1, -1, half)], dim=-1)
        weights = self.weights(tokens).sigmoid() * allowed
        return ObjectSummary(weights.mT @ self.values(tokens), weights.sum(dim=1)[..., None])
