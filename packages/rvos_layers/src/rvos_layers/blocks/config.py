"""Sizes of the blocks."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class DeformableConfig:
    """Sizes of a deformable transformer.

    Attributes:
        hidden_size: width of a token.
        num_heads: attention heads, of the deformable and of the ordinary attention.
        encoder_layers, decoder_layers: number of layers.
        feedforward_dim: inner width of the feed-forward layers.
        levels: feature levels.
        encoder_points, decoder_points: sampling points per head and level.
        dropout: probability, in training.
    """

    hidden_size: int = 256
    num_heads: int = 8
    encoder_layers: int = 4
    decoder_layers: int = 4
    feedforward_dim: int = 2048
    levels: int = 4
    encoder_points: int = 4
    decoder_points: int = 4
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.hidden_size % self.num_heads:
            raise ValueError(f"hidden_size ({self.hidden_size}) must be a multiple of num_heads ({self.num_heads})")


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameQueryConfig:
    """Sizes of a frame query transformer.

    Attributes:
        hidden_size, num_heads, feedforward_dim: of every layer.
        encoder_layers, decoder_layers: number of layers.
        window: frames that attend to each other directly; None for all. Even, because every second layer shifts the
            windows by half their length.
        dropout: probability, in training.
    """

    hidden_size: int
    num_heads: int = 8
    feedforward_dim: int = 2048
    encoder_layers: int = 3
    decoder_layers: int = 3
    window: int | None = None
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.window is not None and (self.window < 2 or self.window % 2):
            raise ValueError(f"window must be an even number of frames or None, not {self.window}")
