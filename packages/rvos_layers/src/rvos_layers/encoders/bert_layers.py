"""What BERT and RoBERTa have in common, with the parameter names of transformers' models.

Shapes: B expressions, L tokens, C channels.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

INITIAL_STD = 0.02


def draw_weights(network: nn.Module) -> None:
    """Random weights, drawn as transformers draws them."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=INITIAL_STD)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding) and module.padding_idx is not None:
            nn.init.zeros_(module.weight[module.padding_idx].detach())


def padding_scores(padding_mask: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to the scores of an attention [B, 1, 1, L], so that no token attends where bool [B, L] is True."""
    scores = torch.zeros_like(padding_mask, dtype=dtype).masked_fill_(padding_mask, torch.finfo(dtype).min)
    return scores[:, None, None]


class Layer(nn.Module):
    """Self-attention and a feed-forward part, post-norm.

    Args:
        width: C.
        num_heads: of the attention.
        feedforward_dim: width between the two linear layers.
        eps: of the norms.
        dropout: in training, of attention weights and of what is added to a residual connection.
    """

    def __init__(self, width: int, num_heads: int, feedforward_dim: int, *, eps: float, dropout: float) -> None:
        super().__init__()
        attend = SelfAttention(width, num_heads, dropout)
        self.attention = nn.ModuleDict({"self": attend, "output": Residual(width, width, eps, dropout)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, feedforward_dim)})
        self.output = Residual(feedforward_dim, width, eps, dropout)

    def forward(self, x: Tensor, scores: Tensor) -> Tensor:
        """[B, L, C] to the same shape; `scores` [B, 1, 1, L] are added to those of the attention."""
        x = self.attention["output"](self.attention["self"](x, scores), x)
        return self.output(gelu(self.intermediate["dense"](x)), x)


class SelfAttention(nn.Module):
    """Attention of tokens to each other, without the projection after it."""

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, scores: Tensor) -> Tensor:
        """[B, L, C] to the same shape."""
        query, key, value = (
            linear(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for linear in (self.query, self.key, self.value)
        )
        logits = query @ key.mT * query.shape[-1] ** -0.5 + scores
        return (self.dropout(logits.softmax(-1)) @ value).transpose(1, 2).flatten(2)


class Residual(nn.Module):
    """A linear layer whose result is added to what came before, and normed."""

    def __init__(self, inputs: int, outputs: int, eps: float, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, outputs)
        self.LayerNorm = nn.LayerNorm(outputs, eps=eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        """[..., inputs] and [..., outputs] to [..., outputs]."""
        return self.LayerNorm(self.dropout(self.dense(x)) + before)
