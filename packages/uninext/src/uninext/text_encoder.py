"""BERT: from an expression's tokens to hidden states."""

from dataclasses import dataclass

from rvos_layers.encoders.tokenizer import BERT
from torch import Tensor, nn
from torch.nn import functional

from uninext.config import TextConfig

INITIAL_STD = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class EncodedText:
    """Encoded expressions; they depend on no frame.

    Attributes:
        words: [E, N, D] hidden states, [CLS] and [SEP] among them.
        padding_mask: bool [E, N], True where shorter expressions are padded.
    """

    words: Tensor
    padding_mask: Tensor

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, expressions: slice | Tensor) -> "EncodedText":
        return EncodedText(self.words[expressions], self.padding_mask[expressions])


def cut_padding(input_ids: Tensor, padding_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens [E, N] of both without the last columns that are padding in every expression.

    It looks at numbers: call it before they go to a GPU.
    """
    length = int((~padding_mask).sum(1).max())
    return input_ids[:, :length], padding_mask[:, :length]


class TextEncoder(nn.Module):
    """BERT without its pooler, with the parameter names of transformers' `BertModel`.

    Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", 2018.
    transformers is not imported: its models take as long as torch itself.
    """

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.bert = nn.ModuleDict({"embeddings": Embeddings(config), "encoder": nn.ModuleDict({"layer": layers})})
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=INITIAL_STD)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding) and module.padding_idx is not None:
                nn.init.zeros_(module.weight[module.padding_idx].detach())

    def forward(self, input_ids: Tensor, padding_mask: Tensor) -> EncodedText:
        """Encode token ids int64 [E, N] with padding_mask bool [E, N], True where padded; it influences no word."""
        words = self.bert["embeddings"](input_ids)
        for layer in self.bert["encoder"]["layer"]:  # pyright: ignore[reportGeneralTypeIssues, reportIndexIssue] - a list
            words = layer(words, ~padding_mask[:, None, None])
        return EncodedText(words, padding_mask)


class Embeddings(nn.Module):
    """Sum of the vectors of word, position and kind (all words are of the first), normed."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.word_embeddings = nn.Embedding(config.vocab_size, width, padding_idx=BERT.pad)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, width)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width)
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Int64 [E, N] to [E, N, D]."""
        fixed = self.token_type_embeddings.weight[0] + self.position_embeddings.weight[: input_ids.shape[1]]
        return self.dropout(self.LayerNorm(self.word_embeddings(input_ids) + fixed))


class Layer(nn.Module):
    """Self-attention and a feed-forward part, post-norm."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.attention = nn.ModuleDict({"self": SelfAttention(config), "output": Residual(config, width)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, config.intermediate_size)})
        self.output = Residual(config, config.intermediate_size)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """[E, N, D] to the same shape; `seen` bool [E, 1, 1, N], True where there is a word."""
        x = self.attention["output"](self.attention["self"](x, seen), x)
        return self.output(functional.gelu(self.intermediate["dense"](x)), x)


class SelfAttention(nn.Module):
    """Attention of words to each other, without the projection after it."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.dropout = config.dropout
        self.query, self.key, self.value = (nn.Linear(config.hidden_size, config.hidden_size) for _ in range(3))

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """[E, N, D] to the same shape."""
        query, key, value = (
            linear(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for linear in (self.query, self.key, self.value)
        )
        dropout = self.dropout if self.training else 0.0
        read = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen, dropout_p=dropout)
        return read.transpose(1, 2).flatten(2)


class Residual(nn.Module):
    """A linear layer whose result is added to what came before, and normed."""

    def __init__(self, config: TextConfig, inputs: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        """[..., inputs] and [..., D] to [..., D]."""
        return self.LayerNorm(self.dropout(self.dense(x)) + before)
