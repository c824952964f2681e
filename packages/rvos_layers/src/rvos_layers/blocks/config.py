"""Sizes of the blocks. Importable without torch, as every `config` of this package."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class DeformableConfig:
    """Sizes of a deformable transformer.

    Attributes:
        channels: token width.
        heads: attention heads, of the deformable and of the ordinary attention.
        encoder_layers, decoder_layers: how many.
        feedforward: hidden width of the feed-forward layers.
        levels: feature levels.
        encoder_points, decoder_points: sampling points per head and level.
        dropout: probability, in training.
    """

    channels: int = 256
    heads: int = 8
    encoder_layers: int = 4
    decoder_layers: int = 4
    feedforward: int = 2048
    levels: int = 4
    encoder_points: int = 4
    decoder_points: int = 4
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.channels % self.heads:
            raise ValueError(f"channels ({self.channels}) must be a multiple of heads ({self.heads})")


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameQueryConfig:
    """Sizes of a frame query transformer.

    Attributes:
        channels, heads, feedforward: of every layer.
        encoder_layers, decoder_layers: how many.
        window: frames that exchange directly; None for all. Even, as every second layer shifts by half of it.
        dropout: probability, in training.
    """

    channels: int
    heads: int = 8
    feedforward: int = 2048
    encoder_layers: int = 3
    decoder_layers: int = 3
    window: int | None = None
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.window is not None and (self.window < 2 or self.window % 2):
            raise ValueError(f"window must be an even number of frames or None, not {self.window}")
