"""The decoder: queries refine their reference boxes layer by layer.

UNINEXT `deformable_transformer_dino.py`, after DINO (Zhang et al. 2023) and DAB-DETR (Liu et al. 2022).
Letters: E expressions, Q queries, S tokens, L levels, C channels.
"""

import math
from dataclasses import dataclass

import torch
from msda_ops import MSDeformAttn
from torch import Tensor, nn

from uninext.geometry import FrameGeometry, wave_codes
from uninext.mlp import MLP, FeedForward
from uninext.proposals import inverse_sigmoid


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """What every decoder layer left behind.

    Attributes:
        queries: one [E, Q, C] a layer.
        references: boxes [E, Q, 4] (cx, cy, w, h) in 0..1 of the unpadded frame; the first is the proposal, then one
            after each layer. In training a box's gradient reaches the layer that made it and the one before.
    """

    queries: list[Tensor]
    references: list[Tensor]


class DecoderLayer(nn.Module):
    """Queries look at each other, then at the image around their reference box."""

    def __init__(self, channels: int, feedforward: int, levels: int, heads: int, points: int) -> None:
        super().__init__()
        self.among_queries = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.among_norm = nn.LayerNorm(channels)
        self.to_image = MSDeformAttn(channels, levels, heads, points)
        self.image_norm = nn.LayerNorm(channels)
        self.feedforward = FeedForward(channels, feedforward)

    def forward(
        self, queries: Tensor, positions: Tensor, boxes: Tensor, memory: Tensor, geometry: FrameGeometry
    ) -> Tensor:
        """Update queries [E, Q, C] with positions [E, Q, C] and boxes [E, Q, L, 4] on the memory [E, S, C]."""
        asking = queries + positions
        heard, _ = self.among_queries(asking, asking, queries, need_weights=False)
        queries = self.among_norm(queries + heard)
        padding = geometry.padding.expand(len(memory), -1)
        seen = self.to_image(queries + positions, boxes, memory, geometry.level_sizes, padding)
        return self.feedforward(self.image_norm(queries + seen))


class Decoder(nn.Module):
    """The layers, the learned content of the queries, and a box head a layer."""

    def __init__(self, layers: list[DecoderLayer], channels: int, queries: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.content = nn.Embedding(queries, channels)
        self.position_head = MLP(2 * channels, channels, channels)
        self.box_heads = nn.ModuleList(MLP(channels, channels, channels, 4) for _ in layers)

    def forward(self, references: Tensor, memory: Tensor, geometry: FrameGeometry) -> Decoded:
        """Decode from the proposals' boxes [E, Q, 4]; the k-th ranked proposal gets the k-th learned content."""
        queries = self.content.weight.expand(len(references), -1, -1)
        to_levels = torch.cat([geometry.valid_ratios, geometry.valid_ratios], -1)  # [L, 4]
        decoded = Decoded([], [references])
        references = references.detach()
        for layer, box_head in zip(self.layers, self.box_heads, strict=True):
            known = references.detach()
            boxes = known[:, :, None] * to_levels
            positions = self.position_head(self._box_codes(boxes[:, :, 0]))
            queries = layer(queries, positions, boxes, memory, geometry)
            change = box_head(queries)
            decoded.queries.append(queries)
            decoded.references.append((change + inverse_sigmoid(references)).sigmoid())
            references = (change + inverse_sigmoid(known)).sigmoid()  # DINO's "look forward twice"
        return decoded

    def _box_codes(self, boxes: Tensor) -> Tensor:
        """Wave codes [E, Q, 2C] of boxes [E, Q, 4], in the order y, x, w, h."""
        in_order = boxes[..., [1, 0, 2, 3]] * (2 * math.pi)
        return wave_codes(in_order, self.content.embedding_dim // 2).flatten(-2)
