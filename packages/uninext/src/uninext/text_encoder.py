"""BERT: from an expression's tokens to hidden states."""

from dataclasses import dataclass

from torch import Tensor, nn
from transformers import BertConfig, BertModel

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
    """transformers' BERT without the pooler."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.bert = BertModel(
            BertConfig(
                vocab_size=config.vocab_size,
                hidden_size=config.hidden_size,
                num_hidden_layers=config.num_hidden_layers,
                num_attention_heads=config.num_attention_heads,
                intermediate_size=config.intermediate_size,
                max_position_embeddings=config.max_position_embeddings,
                type_vocab_size=config.type_vocab_size,
                hidden_act=config.hidden_act,
                layer_norm_eps=config.layer_norm_eps,
                hidden_dropout_prob=config.dropout,
                attention_probs_dropout_prob=config.dropout,
            ),
            add_pooling_layer=False,
        )

    def forward(self, input_ids: Tensor, padding_mask: Tensor) -> EncodedText:
        """Encode token ids int64 [E, N] with padding_mask bool [E, N], True where padded; it influences no word."""
        words = self.bert(input_ids, attention_mask=(~padding_mask).long()).last_hidden_state
        return EncodedText(words, padding_mask)
