"""RoBERTa, and the layer that brings its words and its sentence vector to the width of the vision side.

Shapes: B sentences, L tokens, C channels.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from transformers import RobertaConfig, RobertaModel

from rvos_layers.position_codes import sine_code_1d
from rvos_layers.tokenizer import BEGIN, DEMO, END, PAD, ROBERTA_BASE, Tokens

PROJECTION_EPSILON = 1e-12  # of the LayerNorm behind the projection, as published


@dataclass(frozen=True, kw_only=True, slots=True)
class TextConfig:
    """Sizes of the text encoder; the defaults are RoBERTa-base.

    Attributes:
        vocabulary: number of tokens.
        hidden: width of the encoder.
        layers, heads: how many.
        feedforward: hidden width of a layer's feed-forward part.
        positions: rows of the position table; sentences have at most two tokens less.
        projection_dropout: of the projected words and sentence, in training.
        tokenizer: the one that trained weights of this size expect, as `tokenizer.pretrained_encoder` takes it.
    """

    vocabulary: int = 50265
    hidden: int = 768
    layers: int = 12
    heads: int = 12
    feedforward: int = 3072
    positions: int = 514
    projection_dropout: float = 0.1
    tokenizer: str = ROBERTA_BASE

    @property
    def longest(self) -> int:
        """Most tokens of a sentence: positions are counted from the one behind the padding id."""
        return self.positions - PAD - 1


# Of the demo configurations; the vocabulary is that of the shipped tokenizer.
DEMO_TEXT = TextConfig(
    vocabulary=564, hidden=64, layers=2, heads=4, feedforward=128, projection_dropout=0.0, tokenizer=DEMO
)


@dataclass(frozen=True, slots=True)
class TextFeatures:
    """Encoded sentences.

    Attributes:
        words: [B, L, C].
        word_positions: [B, L, C] sine codes.
        sentence: [B, C], from RoBERTa's pooled output.
        padding_mask: bool[B, L], True where padded.
    """

    words: Tensor
    word_positions: Tensor
    sentence: Tensor
    padding_mask: Tensor

    def __getitem__(self, some: slice | Tensor) -> "TextFeatures":
        return TextFeatures(self.words[some], self.word_positions[some], self.sentence[some], self.padding_mask[some])

    def __len__(self) -> int:
        return len(self.words)


class TextEncoder(nn.Module):
    """Tokens to `TextFeatures` of a given width."""

    def __init__(self, config: TextConfig, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.roberta = RobertaModel(
            RobertaConfig(
                vocab_size=config.vocabulary,
                hidden_size=config.hidden,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                intermediate_size=config.feedforward,
                max_position_embeddings=config.positions,
                type_vocab_size=1,
                layer_norm_eps=1e-5,
                pad_token_id=PAD,
                bos_token_id=BEGIN,
                eos_token_id=END,
            )
        )
        self.roberta.set_attn_implementation("eager")  # as published, to the last bit; as fast on sentences
        self.projection = nn.Linear(config.hidden, channels)
        self.norm = nn.LayerNorm(channels, eps=PROJECTION_EPSILON)
        self.dropout = nn.Dropout(config.projection_dropout)

    def forward(self, tokens: Tokens) -> TextFeatures:
        """Encode."""
        encoded = self.roberta(tokens.input_ids, attention_mask=(~tokens.padding_mask).long())
        return TextFeatures(
            words=self._project(encoded.last_hidden_state),
            word_positions=sine_code_1d(tokens.padding_mask, self.channels),
            sentence=self._project(encoded.pooler_output),
            padding_mask=tokens.padding_mask,
        )

    def _project(self, x: Tensor) -> Tensor:
        return self.dropout(self.norm(self.projection(x)))
