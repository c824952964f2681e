"""BERT: from an expression's tokens to hidden states."""

from dataclasses import dataclass

from rvos_layers.encoders.bert_layers import Layer, draw_weights, padding_scores
from rvos_layers.encoders.tokenizer import BERT
from torch import Tensor, nn

from uninext.config import TextConfig


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
        sizes = config.hidden_size, config.num_attention_heads, config.intermediate_size
        made = (
            Layer(*sizes, eps=config.layer_norm_eps, dropout=config.dropout) for _ in range(config.num_hidden_layers)
        )
        layers = nn.ModuleList(made)
        self.bert = nn.ModuleDict({"embeddings": Embeddings(config), "encoder": nn.ModuleDict({"layer": layers})})
        draw_weights(self)

    def forward(self, input_ids: Tensor, padding_mask: Tensor) -> EncodedText:
        """Encode token ids int64 [E, N] with padding_mask bool [E, N], True where padded; it influences no word."""
        words = self.bert["embeddings"](input_ids)
        scores = padding_scores(padding_mask, words.dtype)
        for layer in self.bert["encoder"]["layer"]:  # pyright: ignore[reportGeneralTypeIssues, reportIndexIssue] - a list
            words = layer(words, scores)
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
