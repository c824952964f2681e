"""Where to look: the best tokens of the memory become the decoder's first reference boxes.

UNINEXT `deformable_transformer_dino.py`, after the two-stage variant of Deformable DETR and DINO (Zhang et al. 2023).
Letters: E expressions, S tokens, Q queries, C channels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from uninext.errors import InputError
from uninext.geometry import FrameGeometry
from uninext.mlp import MLP


@dataclass(frozen=True, slots=True, eq=False)
class Proposals:
    """The chosen tokens, best first.

    Attributes:
        scores: [E, S] of every token (logits).
        ranked: int64 [E, Q] tokens in falling order of score.
        references: [E, Q, 4] boxes (cx, cy, w, h) in 0..1 of the unpadded frame.
    """

    scores: Tensor
    ranked: Tensor
    references: Tensor


class ProposalHead(nn.Module):
    """Scores every token without looking at the text again (the memory has seen it) and refines its anchor."""

    def __init__(self, channels: int, queries: int) -> None:
        super().__init__()
        self.queries = queries
        self.project = nn.Linear(channels, channels)
        self.norm = nn.LayerNorm(channels)
        self.score = nn.Linear(channels, 1)
        self.box = MLP(channels, channels, channels, 4)

    def forward(self, memory: Tensor, geometry: FrameGeometry) -> Proposals:
        """Choose Q tokens of the memory [E, S, C].

        Tokens that may not be proposed are blanked, so they share one score; where they are among the best their
        order is whatever `topk` makes of ties, as in the published model.

        Raises:
            InputError: the frame has fewer tokens than there are queries.
        """
        return self.choose(self.describe(memory, geometry), geometry)

    def describe(self, memory: Tensor, geometry: FrameGeometry) -> Tensor:
        """What scores and boxes are read from, [E, S, C]; zero before the norm where nothing may be proposed."""
        return self.norm(self.project(memory.masked_fill(~geometry.proposable[:, None], 0.0)))

    def boxes(self, described: Tensor, anchors: Tensor) -> Tensor:
        """Boxes [..., 4] of described tokens [..., C] and their anchors' logits [..., 4], see `anchor_logits`."""
        return (self.box(described) + anchors).sigmoid()

    def choose(self, described: Tensor, geometry: FrameGeometry) -> Proposals:
        """The Q best of described tokens; see `forward`."""
        if geometry.tokens < self.queries:
            height, width = geometry.image_size
            raise InputError(
                f"a frame resized to {height}x{width} has {geometry.tokens} image tokens, "
                f"the network chooses {self.queries}; use a larger short side (the published one is 480)"
            )
        scores = self.score(described).squeeze(-1)
        ranked = scores.topk(self.queries, dim=1).indices
        anchors = anchor_logits(geometry)
        chosen = described.gather(1, ranked[..., None].expand(-1, -1, described.shape[-1]))
        return Proposals(scores, ranked, self.boxes(chosen, anchors[ranked]))


def anchor_logits(geometry: FrameGeometry) -> Tensor:
    """Logits [S, 4] of the anchors; infinite where nothing may be proposed, as in the published model."""
    return geometry.anchors.logit().masked_fill(~geometry.proposable[:, None], float("inf"))


def inverse_sigmoid(x: Tensor, limit: float = 1e-5) -> Tensor:
    """Logit of values in 0..1, kept finite."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=limit) / (1 - x).clamp(min=limit))
