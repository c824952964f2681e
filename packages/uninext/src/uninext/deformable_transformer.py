"""The deformable transformer: the encoder, the proposals made of its memory, and the decoder that refines them.

UNINEXT `deformable_transformer_dino.py`, after Deformable DETR (Zhu et al. 2021), DAB-DETR (Liu et al. 2022) and DINO
(Zhang et al. 2023). Letters: E expressions, S image tokens, Q queries, L levels, C hidden channels.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from msda_ops import MSDeformAttn
from torch import Tensor, nn

from uninext.errors import InputError
from uninext.geometry import FrameGeometry, wave_codes


class EncoderLayer(nn.Module):
    """Deformable self-attention and feed-forward, each with a norm after its residual."""

    def __init__(self, hidden_size: int, feedforward_dim: int, levels: int, num_heads: int, points: int) -> None:
        super().__init__()
        self.attention = MSDeformAttn(hidden_size, levels, num_heads, points)
        self.norm = nn.LayerNorm(hidden_size)
        self.feedforward = FeedForward(hidden_size, feedforward_dim)

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

    def __init__(self, hidden_size: int, queries: int) -> None:
        super().__init__()
        self.queries = queries
        self.project = nn.Linear(hidden_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size)
        self.score = nn.Linear(hidden_size, 1)
        self.box = MLP(hidden_size, hidden_size, hidden_size, 4)

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

    def __init__(self, hidden_size: int, feedforward_dim: int, levels: int, num_heads: int, points: int) -> None:
        super().__init__()
        self.among_queries = nn.MultiheadAttention(hidden_size, num_heads, batch_first=True)
        self.among_norm = nn.LayerNorm(hidden_size)
        self.to_image = MSDeformAttn(hidden_size, levels, num_heads, points)
        self.image_norm = nn.LayerNorm(hidden_size)
        self.feedforward = FeedForward(hidden_size, feedforward_dim)

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

    def __init__(self, layers: list[DecoderLayer], hidden_size: int, queries: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.content = nn.Embedding(queries, hidden_size)
        self.position_head = MLP(2 * hidden_size, hidden_size, hidden_size)
        self.box_heads = nn.ModuleList(MLP(hidden_size, hidden_size, hidden_size, 4) for _ in layers)

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


class MLP(nn.Sequential):
    """Linear layers with ReLU between them; the linear layers have the even indices.

    Args:
        sizes: channels of the input, of every hidden layer and of the output.
    """

    def __init__(self, *sizes: int) -> None:
        layers: list[nn.Module] = []
        for size_in, size_out in pairwise(sizes):
            layers += [nn.Linear(size_in, size_out), nn.ReLU(inplace=True)]
        super().__init__(*layers[:-1])


class FeedForward(nn.Module):
    """Two linear layers with ReLU, a residual connection and a norm after it."""

    def __init__(self, hidden_size: int, feedforward_dim: int) -> None:
        super().__init__()
        self.expand = nn.Linear(hidden_size, feedforward_dim)
        self.contract = nn.Linear(feedforward_dim, hidden_size)
        self.norm = nn.LayerNorm(hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] to the same shape."""
        return self.norm(x + self.contract(self.expand(x).relu_()))


def inverse_sigmoid(x: Tensor, limit: float = 1e-5) -> Tensor:
    """Logit of values in 0..1, kept finite."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=limit) / (1 - x).clamp(min=limit))
