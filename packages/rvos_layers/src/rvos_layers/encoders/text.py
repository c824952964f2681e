"""RoBERTa, and the layer that brings its words and its sentence vector to the width of the vision side.

Shapes: B sentences, L tokens, C channels.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from transformers import RobertaConfig, RobertaModel

from rvos_layers.checkpoint import Constant, Rename, Rule
from rvos_layers.encoders.config import BEGIN, END, PAD, TextConfig
from rvos_layers.encoders.positions import sine_code_1d
from rvos_layers.encoders.tokenizer import Tokens

PROJECTION_EPSILON = 1e-12  # of the LayerNorm behind the projection, as published


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


def text_encoder_rules(roberta: str, projection: str, norm: str, ours: str) -> list[Rule]:
    """Rules for RoBERTa and the layer behind it; the published prefixes of both, and ours."""
    position_ids = "embeddings.position_ids"  # transformers before 4.31 saved it
    return [
        Constant(f"{roberta}.{position_ids}", f"{ours}.roberta.{position_ids}"),
        Rename(f"{roberta}.{{*}}", f"{ours}.roberta.{{*}}"),
        Rename(f"{projection}.{{*}}", f"{ours}.projection.{{*}}"),
        Rename(f"{norm}.{{*}}", f"{ours}.norm.{{*}}"),
    ]
