"""Ordinary attention and feed-forward layers, batch first.

The published models build everything that is not deformable from the same two post-norm residual layers, under many
names.
"""

import torch
from program_kit.torch.checkpoint.table import Rename, Rule
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention


class Attention(nn.Module):
    """Multi-head attention with the parameters of `torch.nn.MultiheadAttention`.

    It always calls `scaled_dot_product_attention`, so that long token sequences need no attention matrix in memory
    (`nn.MultiheadAttention` may choose a path that makes one). Keys can be projected once for many queries.

    Args:
        hidden_size: width of queries, keys, values and output.
        num_heads: divides `hidden_size`.
        dropout: probability of dropping an attention weight, in training.
    """

    def __init__(self, hidden_size: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * hidden_size, hidden_size))  # query, key, value stacked
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * hidden_size))
        self.out_proj = nn.Linear(hidden_size, hidden_size)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend.

        Args:
            query: [B, Q, C].
            key, value: [B, S, C].
            mask: bool broadcastable to [B, heads, Q, S], True where a query may attend (see `attention_mask`); or
                float, added to the scores.

        Returns:
            [B, Q, C].
        """
        return self.attend(query, *self.project_memory(key, value), mask)

    def project_memory(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values per head, [B, heads, S, C/heads] each: all that `attend` needs of the memory."""
        _, *weights = self.in_proj_weight.chunk(3)
        _, *biases = self.in_proj_bias.chunk(3)
        keys, values = (
            self._split_heads(linear(x, w, b)) for x, w, b in zip((key, value), weights, biases, strict=True)
        )
        return keys, values

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend to a memory from `project_memory`; other arguments as in `forward`."""
        queries = self._split_heads(linear(query, self.in_proj_weight.chunk(3)[0], self.in_proj_bias.chunk(3)[0]))
        dropout = self.dropout if self.training else 0.0
        heads = scaled_dot_product_attention(queries, keys, values, attn_mask=mask, dropout_p=dropout)
        return self.out_proj(heads.transpose(1, 2).flatten(2))

    def _split_heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)


def attention_mask(padding_mask: Tensor | None) -> Tensor | None:
    """Turn `bool[B, S]`, True where padded, into the mask of an `Attention`; None stays None."""
    return None if padding_mask is None else ~padding_mask[:, None, None, :]


class AttentionLayer(nn.Module):
    """`norm(x + dropout(attention(x, memory)))`; self-attention without a memory.

    Args:
        hidden_size, num_heads: as in `Attention`.
        dropout: probability for the attention weights and for the branch.
    """

    def __init__(self, hidden_size: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(hidden_size, num_heads, dropout)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(hidden_size)

    def forward(
        self,
        x: Tensor,
        memory: Tensor | None = None,
        *,
        position: Tensor | None = None,
        memory_position: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Return [B, Q, C] for `x` [B, Q, C].

        Args:
            memory: [B, S, C]; None for self-attention, where `position` is added to the keys too.
            position: added to the queries, broadcastable to `x`.
            memory_position: added to the keys (never to the values), broadcastable to `memory`.
            mask: as in `Attention.forward`.
        """
        if memory is None:
            memory, memory_position = x, position
        query = x if position is None else x + position
        key = memory if memory_position is None else memory + memory_position
        return self.norm(x + self.dropout(self.attention(query, key, memory, mask)))


class FeedForward(nn.Module):
    """`norm(x + dropout(linear2(dropout(relu(linear1(x))))))`.

    Args:
        hidden_size: width of input and output.
        feedforward_dim: width between the two linear layers.
        dropout: probability for both dropouts.
    """

    def __init__(self, hidden_size: int, feedforward_dim: int, dropout: float) -> None:
        super().__init__()
        self.linear1 = nn.Linear(hidden_size, feedforward_dim)
        self.linear2 = nn.Linear(feedforward_dim, hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., C] to [..., C]."""
        inner = self.dropout(self.linear1(x).relu_())
        return self.norm(x + self.dropout(self.linear2(inner)))


def attention_layer_rules(published: str, attention: str, ours: str) -> list[Rule]:
    """Rules for one `AttentionLayer` whose attention is published as `<published>.<attention>`."""
    return [
        Rename(f"{published}.{attention}.{{*}}", f"{ours}.attention.{{*}}"),
        Rename(f"{published}.norm.{{*}}", f"{ours}.norm.{{*}}"),
    ]
