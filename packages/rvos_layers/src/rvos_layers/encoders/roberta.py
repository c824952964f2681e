"""RoBERTa, with the parameter names of transformers' `RobertaModel`, and equal to it to the last bit.

Liu et al., "RoBERTa: A Robustly Optimized BERT Pretraining Approach", 2019. transformers is not imported: its models
take as long as torch itself.

Shapes: B expressions, L tokens, C channels.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from rvos_layers.encoders.bert_layers import Layer, draw_weights, padding_scores
from rvos_layers.encoders.config import PAD, TextConfig

DROPOUT = 0.1  # in training, of attention weights and of what is added to a residual connection
EPSILON = 1e-5


class EncodedWords(NamedTuple):
    """Hidden states [B, L, C] of all tokens, and a vector [B, C] made from the first one."""

    last_hidden_state: Tensor
    pooler_output: Tensor


class Roberta(nn.Module):
    """Tokens to hidden states."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        sizes = config.hidden_size, config.num_heads, config.feedforward_dim
        layers = nn.ModuleList(Layer(*sizes, eps=EPSILON, dropout=DROPOUT) for _ in range(config.layers))
        self.encoder = nn.ModuleDict({"layer": layers})
        self.pooler = nn.ModuleDict({"dense": nn.Linear(config.hidden_size, config.hidden_size)})
        draw_weights(self)

    def forward(self, input_ids: Tensor, padding_mask: Tensor) -> EncodedWords:
        """Encode.

        Args:
            input_ids: int64[B, L].
            padding_mask: bool[B, L], True where padded; no token attends there.
        """
        x = self.embeddings(input_ids)
        scores = padding_scores(padding_mask, x.dtype)
        for layer in self.encoder["layer"]:  # pyright: ignore[reportGeneralTypeIssues] - a list
            x = layer(x, scores)
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
