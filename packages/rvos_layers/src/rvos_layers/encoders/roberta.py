"""RoBERTa, with the parameter names of transformers' `RobertaModel`, and equal to it to the last bit.

Liu et al., "RoBERTa: A Robustly Optimized BERT Pretraining Approach", 2019. transformers is not imported: its models
take as long as torch itself.

Shapes: B expressions, L tokens, C channels.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from rvos_layers.encoders.config import PAD, TextConfig

DROPOUT = 0.1  # in training, of attention weights and of what is added to a residual connection
EPSILON = 1e-5
INITIAL_STD = 0.02


class EncodedWords(NamedTuple):
    """Hidden states [B, L, C] of all tokens, and a vector [B, C] made from the first one."""

    last_hidden_state: Tensor
    pooler_output: Tensor


class Roberta(nn.Module):
    """Tokens to hidden states."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Layer(config) for _ in range(config.layers))})
        self.pooler = nn.ModuleDict({"dense": nn.Linear(config.hidden_size, config.hidden_size)})
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=INITIAL_STD)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding) and module.padding_idx is not None:
                nn.init.zeros_(module.weight[module.padding_idx].detach())

    def forward(self, input_ids: Tensor, padding_mask: Tensor) -> EncodedWords:
        """Encode.

        Args:
            input_ids: int64[B, L].
            padding_mask: bool[B, L], True where padded; no token attends there.
        """
        x = self.embeddings(input_ids)
        scores = torch.zeros_like(padding_mask, dtype=x.dtype).masked_fill_(padding_mask, torch.finfo(x.dtype).min)
        for layer in self.encoder["layer"]:  # pyright: ignore[reportGeneralTypeIssues] - a list
            x = layer(x, scores[:, None, None])
        return EncodedWords(x, self.pooler["dense"](x[:, 0]).tanh())


class Embeddings(nn.Module):
    """Sum of the vectors of word, kind (there is one kind) and position, normed; positions count from the padding's."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=PAD)
        self.position_embeddings = nn.Embedding(config.positions, config.hidden_size, padding_idx=PAD)
        self.token_type_embeddings = nn.Embedding(1, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=EPSILON)
        self.dropout = nn.Dropout(DROPOUT)
        # Published files may hold it, and it is compared with theirs.
        self.register_buffer("position_ids", torch.arange(config.positions)[None], persistent=False)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Int64 [B, L] to [B, L, C]."""
        is_word = input_ids.ne(PAD)
        positions = is_word.cumsum(1) * is_word + PAD
        kinds = self.token_type_embeddings(torch.zeros_like(input_ids))
        x = self.word_embeddings(input_ids) + kinds + self.position_embeddings(positions)
        return self.dropout(self.LayerNorm(x))


class Layer(nn.Module):
    """Self-attention and a feed-forward part, post-norm."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        width = config.hidden_size
        attend = SelfAttention(width, config.num_heads)
        self.attention = nn.ModuleDict({"self": attend, "output": Residual(width, width)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, config.feedforward_dim)})
        self.output = Residual(config.feedforward_dim, width)

    def forward(self, x: Tensor, scores: Tensor) -> Tensor:
        """[B, L, C] to the same shape; `scores` [B, 1, 1, L] are added to those of the attention."""
        x = self.attention["output"](self.attention["self"](x, scores), x)
        return self.output(gelu(self.intermediate["dense"](x)), x)


class SelfAttention(nn.Module):
    """Attention of tokens to each other, without the projection after it."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.dropout = nn.Dropout(DROPOUT)

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

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, outputs)
        self.LayerNorm = nn.LayerNorm(outputs, eps=EPSILON)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        """[..., inputs] and [..., outputs] to [..., outputs]."""
        return self.LayerNorm(self.dropout(self.dense(x)) + before)
