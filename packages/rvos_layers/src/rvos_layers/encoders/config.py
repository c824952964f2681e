"""Sizes of backbones and text encoders.

No `config` module of this package imports torch: a command line reads the names of configurations before it has work.
"""

from dataclasses import dataclass

BEGIN, PAD, END = 0, 1, 2  # RoBERTa's `<s>`, `<pad>`, `</s>`; 3 is `<unk>`
ROBERTA_BASE = "roberta-base"  # on the Hugging Face hub
DEMO = "demo"  # the tokenizer of the demo configurations; same format, the vocabulary of the synthetic videos


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoSwinConfig:
    """Sizes of a Video-Swin backbone; the defaults are Video-Swin-B.

    Attributes:
        patch: patch size (time, height, width); the published models keep every frame.
        hidden_size: width of the first stage; it doubles at each later one.
        depths: blocks per stage.
        num_heads: attention heads per stage.
        window: window size (time, height, width).
        mlp_ratio: inner width of a block's MLP over its outer width.
        stochastic_depth: drop rate of the last block in training; earlier ones rise linearly from 0.
    """

    patch: tuple[int, int, int] = (1, 4, 4)
    hidden_size: int = 128
    depths: tuple[int, ...] = (2, 2, 18, 2)
    num_heads: tuple[int, ...] = (4, 8, 16, 32)
    window: tuple[int, int, int] = (8, 7, 7)
    mlp_ratio: float = 4.0
    stochastic_depth: float = 0.2

    def __post_init__(self) -> None:
        if len(self.depths) != len(self.num_heads):
            raise ValueError(f"depths {self.depths} and num_heads {self.num_heads} must be equally long")
        if self.patch[0] != 1:
            raise ValueError(f"patch {self.patch} joins frames; its temporal size must be 1")

    @property
    def stage_channels(self) -> tuple[int, ...]:
        """Width of every stage's output."""
        return tuple(self.hidden_size * 2**stage for stage in range(len(self.depths)))


@dataclass(frozen=True, kw_only=True, slots=True)
class ResNetConfig:
    """Sizes of a bottleneck ResNet; the default is ResNet-50.

    Attributes:
        depths: blocks in each of the four stages.
    """

    depths: tuple[int, int, int, int] = (3, 4, 6, 3)

    @property
    def stage_channels(self) -> tuple[int, ...]:
        """Width of every stage's output."""
        return 256, 512, 1024, 2048


BackboneConfig = VideoSwinConfig | ResNetConfig

BACKBONES: dict[str, BackboneConfig] = {
    "video-swin-b": VideoSwinConfig(),
    "video-swin-s": VideoSwinConfig(hidden_size=96, num_heads=(3, 6, 12, 24)),
    "video-swin-t": VideoSwinConfig(hidden_size=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24)),
    "resnet-50": ResNetConfig(),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class TextConfig:
    """Sizes of the text encoder; the defaults are RoBERTa-base.

    Attributes:
        vocab_size: number of tokens.
        hidden_size: width of the encoder.
        layers: number of layers.
        num_heads: attention heads of a layer.
        feedforward_dim: inner width of a layer's feed-forward part.
        positions: rows of the position table; an expression has at most two tokens less.
        projection_dropout: probability for the projected words and sentence, in training.
        tokenizer: the one that trained weights of this size expect, as `tokenizer.pretrained_encoder` takes it.
    """

    vocab_size: int = 50265
    hidden_size: int = 768
    layers: int = 12
    num_heads: int = 12
    feedforward_dim: int = 3072
    positions: int = 514
    projection_dropout: float = 0.1
    tokenizer: str = ROBERTA_BASE

    @property
    def max_tokens(self) -> int:
        """Most tokens of an expression: RoBERTa counts positions from the padding id on."""
        return self.positions - PAD - 1


# The text encoder of the demo configurations; the vocabulary is that of the bundled tokenizer.
DEMO_TEXT = TextConfig(
    vocab_size=564, hidden_size=64, layers=2, num_heads=4, feedforward_dim=128, projection_dropout=0.0, tokenizer=DEMO
)
