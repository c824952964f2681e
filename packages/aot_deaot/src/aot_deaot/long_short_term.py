"""AOT's propagation: long short-term transformer layers.

Yang, Wei, Yang, "Associating Objects with Transformers for Video Object Segmentation", NeurIPS 2021, section 4.2;
`networks/layers/transformer.py` and `attention.py` of the published code. Shape letters as in `attention`, C channels.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch.nn.functional as F  # noqa: N812
from einops import rearrange
from torch import Tensor, nn

from aot_deaot.attention import (
    Entry,
    RelativePosition,
    attend,
    attend_each,
    attend_nearby,
    merge_heads,
    split_heads,
)


class LayerFeatures(NamedTuple):
    """Features of the current frame in one layer, before it reads any memory; B = 1 in the first layer.

    Attributes:
        tokens: float [B, L, C], the residual stream after self-attention.
        query: float [B, N, L, d], the frame's queries and, once stored, its keys.
        source: float [B, L, C], what becomes the frame's values when its identities are known.
    """

    tokens: Tensor
    query: Tensor
    source: Tensor


class SelfAttention(nn.Module):
    """Attention of a frame's tokens among themselves; positions enter queries and keys only."""

    def __init__(self, hidden_size: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.query, self.key, self.value, self.projection = (nn.Linear(hidden_size, hidden_size) for _ in range(4))

    def forward(self, tokens: Tensor, position: Tensor) -> Tensor:
        """Tokens [B, L, C] and positions [L, C] to [B, L, C]."""
        placed = tokens + position
        query, key = (split_heads(linear(placed), self.num_heads) for linear in (self.query, self.key))
        (found,) = attend(query, (key, split_heads(self.value(tokens), self.num_heads)))
        return self.projection(merge_heads(found))


class FeedForward(nn.Module):
    """Two linear maps with a depth-wise 5 x 5 convolution between them, so that neighbours exchange information."""

    def __init__(self, hidden_size: int, feedforward_dim: int):
        super().__init__()
        self.widen = nn.Linear(hidden_size, feedforward_dim)
        self.norm = nn.GroupNorm(32, feedforward_dim)
        self.blend = nn.Conv2d(
            feedforward_dim, feedforward_dim, kernel_size=5, padding=2, groups=feedforward_dim, bias=False
        )
        self.narrow = nn.Linear(feedforward_dim, hidden_size)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """Tokens [B, h w, C] to tokens of the same shape."""
        grid = rearrange(self.widen(tokens), "b (h w) c -> b c h w", h=size[0])
        grid = self.blend(F.gelu(self.norm(grid)))
        return self.narrow(rearrange(grid, "b c h w -> b (h w) c"))


class LongShortTermLayer(nn.Module):
    """Self-attention, attention to the long- and short-term memory, feed-forward part."""

    def __init__(self, hidden_size: int, num_heads: int, num_memory_heads: int, feedforward_dim: int, radius: int):
        super().__init__()
        self.num_heads = num_memory_heads
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(hidden_size) for _ in range(3))
        self.self_attention = SelfAttention(hidden_size, num_heads)
        self.query = nn.Linear(hidden_size, hidden_size)
        self.value = nn.Linear(hidden_size, hidden_size)
        self.long_projection = nn.Linear(hidden_size, hidden_size)
        self.short_projection = nn.Linear(hidden_size, hidden_size)
        self.relative = RelativePosition(num_memory_heads, hidden_size // num_memory_heads, radius, values=True)
        self.feed_forward = FeedForward(hidden_size, feedforward_dim)

    def encode(self, tokens: Tensor, position: Tensor) -> LayerFeatures:
        """The features before any memory is read, from tokens [B, L, C] and positions [L, C]."""
        tokens = tokens + self.self_attention(self.norm1(tokens), position)
        source = self.norm2(tokens)
        return LayerFeatures(tokens, split_heads(self.query(source), self.num_heads), source)

    def memorize(self, features: LayerFeatures, identity: Tensor) -> Entry:
        """The memory of a frame whose identities [B, L, C] are known: keys and values, [B or 1, N, L, d] each."""
        return features.query, split_heads(self.value(features.source + identity), self.num_heads)

    def read_memory(
        self, features: LayerFeatures, long: Sequence[Entry], short: Entry, size: tuple[int, int]
    ) -> Tensor:
        """Complete the layer with the memories of all object sets; returns tokens [B, L, C]."""
        (far,) = attend_each(features.query, long)
        (near,) = attend_nearby(features.query, short, self.relative, size)
        tokens = features.tokens + self.long_projection(merge_heads(far)) + self.short_projection(merge_heads(near))
        return tokens + self.feed_forward(self.norm3(tokens), size)


class LongShortTermReadout(nn.Module):
    """Every layer's output, normalised for the decoder by a norm of its own."""

    def __init__(self, hidden_size: int, layers: int):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(hidden_size) for _ in range(layers))

    def forward(self, states: Sequence[Tensor]) -> list[Tensor]:
        """Layer outputs [B, L, C] to decoder inputs of the same shape."""
        return [norm(state) for norm, state in zip(self.norms, states, strict=True)]
