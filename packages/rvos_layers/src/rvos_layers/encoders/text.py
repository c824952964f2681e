"""RoBERTa, and a projection of its words and its sentence vector to the width of the visual features.

Shapes: B expressions, L tokens, C channels.
"""

from dataclasses import dataclass

from program_kit.torch.checkpoint.table import Constant, Rename, Rule
from torch import Tensor, nn

from rvos_layers.encoders.config import TextConfig
from rvos_layers.encoders.positions import sine_encoding_1d
from rvos_layers.encoders.roberta import Roberta
from rvos_layers.encoders.tokenizer import Tokens

PROJECTION_EPSILON = 1e-12  # of the LayerNorm after the projection, as published


@dataclass(frozen=True, slots=True)
class TextFeatures:
    """Encoded expressions.

    Attributes:
        words: [B, L, C].
        word_positions: [B, L, C] sine encodings.
        sentence: [B, C], one vector for the whole expression, from RoBERTa's pooled output.
        padding_mask: bool[B, L], True where padded.
    """

    words: Tensor
    word_positions: Tensor
    sentence: Tensor
    padding_mask: Tensor

    def __getitem__(self, rows: slice | Tensor) -> "TextFeatures":
        return TextFeatures(self.words[rows], self.word_positions[rows], self.sentence[rows], self.padding_mask[rows])

    def __len__(self) -> int:
        return len(self.words)


class TextEncoder(nn.Module):
    """Tokens to `TextFeatures` of width `hidden_size`."""

    def __init__(self, config: TextConfig, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.roberta = Roberta(config)
        self.projection = nn.Linear(config.hidden_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size, eps=PROJECTION_EPSILON)
        self.dropout = nn.Dropout(config.projection_dropout)

    def forward(self, tokens: Tokens) -> TextFeatures:
        """Encode."""
        encoded = self.roberta(tokens.input_ids, tokens.padding_mask)
        return TextFeatures(
            words=self._project(encoded.last_hidden_state),
            word_positions=sine_encoding_1d(tokens.padding_mask, self.hidden_size).to(self.projection.weight.dtype),
            sentence=self._project(encoded.pooler_output),
            padding_mask=tokens.padding_mask,
        )

    def _project(self, x: Tensor) -> Tensor:
        return self.dropout(self.norm(self.projection(x)))


def text_encoder_rules(roberta: str, projection: str, norm: str, ours: str) -> list[Rule]:
    """Rules for RoBERTa and its projection, given their published prefixes and ours."""
    position_ids = "embeddings.position_ids"  # transformers before 4.31 saved it
    return [
        Constant(f"{roberta}.{position_ids}", f"{ours}.roberta.{position_ids}"),
        Rename(f"{roberta}.{{*}}", f"{ours}.roberta.{{*}}"),
        Rename(f"{projection}.{{*}}", f"{ours}.projection.{{*}}"),
        Rename(f"{norm}.{{*}}", f"{ours}.norm.{{*}}"),
    ]
