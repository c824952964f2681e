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
from uninext.geometry import FrameGeometry, sinusoidal_encoding


class EncoderLayer(nn.Module):
    """Deformable self-attention and feed-forward, each with a norm after its residual."""

    def __init__(self, hidden_size: int, feedforward_dim: int, levels: int, num_heads: int, points: int) -> None:
        super().__init__()
        self.attention = MSDeformAttn(hidden_size, levels, num_heads, points)
        self.norm = nn.LayerNorm(hidden_size)
        self.feedforward = FeedForward(hidden_size, feedforward_dim)

    def forward(self, tokens: Tensor, positions: Tensor, geometry: FrameGeometry) -> Tensor:
        """[E, S, C] to the same shape; positions [S, C] are added to the queries of the attention, not its values."""
        batch = len(tokens)
        attended = self.attention(
            tokens + positions,
            geometry.centres.expand(batch, -1, -1, -1),
            tokens,
            geometry.level_sizes,
            input_padding_mask=geometry.padding.expand(batch, -1),
        )
        return self.feedforward(self.norm(tokens + attended))


class Encoder(nn.ModuleList):
    """A stack of `EncoderLayer`."""

    def forward(self, tokens: Tensor, positions: Tensor, geometry: FrameGeometry) -> Tensor:
        """Encode tokens [E, S, C] with positions [S, C]; returns the memory [E, S, C]."""
        for layer in self:
            tokens = layer(tokens, positions, geometry)
        return tokens


@dataclass(frozen=True, slots=True, eq=False)
class Proposals:
    """The image tokens with the best scores, best first.

    Attributes:
        scores: [E, S] logits of all tokens.
        indices: int64 [E, Q] of the best tokens, in falling order of score.
        references: [E, Q, 4] boxes (cx, cy, w, h) in 0..1 of the unpadded frame.
    """

    scores: Tensor
    indices: Tensor
    references: Tensor


class ProposalHead(nn.Module):
    """Scores every token and refines its anchor; the text takes part only through the memory."""

    def __init__(self, hidden_size: int, queries: int) -> None:
        super().__init__()
        self.queries = queries
        self.project = nn.Linear(hidden_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size)
        self.score = nn.Linear(hidden_size, 1)
        self.box = MLP(hidden_size, hidden_size, hidden_size, 4)

    def forward(self, memory: Tensor, geometry: FrameGeometry) -> Proposals:
        """Select Q tokens of the memory [E, S, C].

        Tokens without a valid anchor are zeroed, so all of them have the same score. Where they are among the best,
        `topk` decides their order as it does for any tie, as in the published model.

        Raises:
            InputError: the frame has fewer tokens than there are queries.
        """
        return self.select(self.project_features(memory, geometry), geometry)

    def project_features(self, memory: Tensor, geometry: FrameGeometry) -> Tensor:
        """Features [E, S, C] for scores and boxes; zero before the projection where the anchor is not valid."""
        return self.norm(self.project(memory.float().masked_fill(~geometry.valid_anchors[:, None], 0.0)))

    def boxes(self, features: Tensor, anchors: Tensor) -> Tensor:
        """Boxes [..., 4] of features [..., C] and the logits of their anchors [..., 4], see `anchor_logits`."""
        return (self.box(features) + anchors).sigmoid()

    def select(self, features: Tensor, geometry: FrameGeometry) -> Proposals:
        """The Q best tokens by their features [E, S, C]; see `forward`."""
        if geometry.tokens < self.queries:
            height, width = geometry.image_size
            raise InputError(
                f"a frame resized to {height}x{width} has {geometry.tokens} image tokens, "
                f"the network needs at least {self.queries}; use a larger short side (the published one is 480)"
            )
        scores = self.score(features).squeeze(-1)
        indices = scores.topk(self.queries, dim=1).indices
        best = features.gather(1, indices[..., None].expand(-1, -1, features.shape[-1]))
        return Proposals(scores, indices, self.boxes(best, anchor_logits(geometry)[indices]))


def anchor_logits(geometry: FrameGeometry) -> Tensor:
    """Logits [S, 4] of the anchors; infinite where an anchor is not valid, as in the published model."""
    return geometry.anchors.logit().masked_fill(~geometry.valid_anchors[:, None], float("inf"))


@dataclass(frozen=True, slots=True, eq=False)
class DecoderOutputs:
    """Queries and boxes after every decoder layer.

    Attributes:
        queries: one [E, Q, C] for each layer.
        references: boxes [E, Q, 4] (cx, cy, w, h) in 0..1 of the unpadded frame; the first is the proposal, then one
            after each layer. In training, the gradient of a box reaches the layer that made it and the one before.
    """

    queries: list[Tensor]
    references: list[Tensor]


class DecoderLayer(nn.Module):
    """Queries attend to each other, then to the image around their reference box."""

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
        located = queries + positions
        attended, _ = self.among_queries(located, located, queries, need_weights=False)
        queries = self.among_norm(queries + attended)
        padding = geometry.padding.expand(len(memory), -1)
        attended = self.to_image(queries + positions, boxes, memory, geometry.level_sizes, input_padding_mask=padding)
        return self.feedforward(self.image_norm(queries + attended))


class Decoder(nn.Module):
    """The layers, each with its box head, and the learned content of the queries."""

    def __init__(self, layers: list[DecoderLayer], hidden_size: int, queries: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.content = nn.Embedding(queries, hidden_size)
        self.position_head = MLP(2 * hidden_size, hidden_size, hidden_size)
        self.box_heads = nn.ModuleList(MLP(hidden_size, hidden_size, hidden_size, 4) for _ in layers)

    def forward(self, references: Tensor, memory: Tensor, geometry: FrameGeometry) -> DecoderOutputs:
        """Decode from the proposals' boxes [E, Q, 4]; the k-th ranked proposal gets the k-th learned content."""
        queries = self.content.weight.expand(len(references), -1, -1)
        to_levels = torch.cat([geometry.valid_ratios, geometry.valid_ratios], -1)  # [L, 4]
        outputs = DecoderOutputs([], [references])
        references = references.detach()
        for layer, box_head in zip(self.layers, self.box_heads, strict=True):
            fixed = references.detach()
            boxes = fixed[:, :, None] * to_levels
            positions = self.position_head(self._box_encoding(boxes[:, :, 0]).to(queries.dtype))
            queries = layer(queries, positions, boxes, memory, geometry)
            offsets = box_head(queries)
            outputs.queries.append(queries)
            outputs.references.append((offsets + inverse_sigmoid(references)).sigmoid())
            references = (offsets + inverse_sigmoid(fixed)).sigmoid()  # DINO's "look forward twice"
        return outputs

    def _box_encoding(self, boxes: Tensor) -> Tensor:
        """Sinusoidal encoding [E, Q, 2C] of boxes [E, Q, 4], in the order y, x, w, h."""
        x, y, size = boxes.split([1, 1, 2], -1)
        in_order = torch.cat([y, x, size], -1) * (2 * math.pi)
        return sinusoidal_encoding(in_order, self.content.embedding_dim // 2).flatten(-2)


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
