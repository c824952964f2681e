"""The deformable encoder: image tokens of all levels look around themselves (Deformable DETR, section 4.1).

Letters: E expressions, S tokens, L levels, C channels.
"""

from msda_ops import MSDeformAttn
from torch import Tensor, nn

from uninext.geometry import FrameGeometry
from uninext.mlp import FeedForward


class EncoderLayer(nn.Module):
    """Deformable self-attention and feed-forward, each with a norm after its residual."""

    def __init__(self, channels: int, feedforward: int, levels: int, heads: int, points: int) -> None:
        super().__init__()
        self.attention = MSDeformAttn(channels, levels, heads, points)
        self.norm = nn.LayerNorm(channels)
        self.feedforward = FeedForward(channels, feedforward)

    def forward(self, tokens: Tensor, positions: Tensor, geometry: FrameGeometry) -> Tensor:
        """[E, S, C] to the same shape; `positions` [S, C] are added to what asks, not to what is seen."""
        batch = len(tokens)
        seen = self.attention(
            tokens + positions,
            geometry.centres.expand(batch, -1, -1, -1),
            tokens,
            geometry.level_sizes,
            geometry.padding.expand(batch, -1),
        )
        return self.feedforward(self.norm(tokens + seen))


class Encoder(nn.ModuleList):
    """A stack of `EncoderLayer`."""

    def forward(self, tokens: Tensor, positions: Tensor, geometry: FrameGeometry) -> Tensor:
        """Encode tokens [E, S, C] with positions [S, C]; returns the memory [E, S, C]."""
        for layer in self:
            tokens = layer(tokens, positions, geometry)
        return tokens
