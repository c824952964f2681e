"""Sizes of backbones and text encoders. Importable without torch, as every `config` of this package."""

from dataclasses import dataclass

BEGIN, PAD, END = 0, 1, 2  # RoBERTa's `<s>`, `<pad>`, `</s>`; 3 is `<unk>`
ROBERTA_BASE = "roberta-base"  # on the Hugging Face hub
DEMO = "demo"  # of the demo configurations; the same kind of files, over the words of drawn videos


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoSwinConfig:
    """Sizes of a Video-Swin backbone; the defaults are Video-Swin-B.

    Attributes:
        patch: patch size (time, height, width); the published models keep every frame.
        channels: width of the first stage; it doubles at each further one.
        depths: blocks per stage.
        heads: attention heads per stage.
        window: window size (time, height, width).
        mlp_ratio: hidden width of a block's MLP over its channels.
        stochastic_depth: drop rate of the last block in training; earlier ones rise linearly from 0.
    """

    patch: tuple[int, int, int] = (1, 4, 4)
    channels: int = 128
    depths: tuple[int, ...] = (2, 2, 18, 2)
    heads: tuple[int, ...] = (4, 8, 16, 32)
    window: tuple[int, int, int] = (8, 7, 7)
    mlp_ratio: float = 4.0
    stochastic_depth: float = 0.2

    def __post_init__(self) -> None:
        if len(self.depths) != len(self.heads):
            raise ValueError(f"depths {self.depths} and heads {self.heads} must be equally long")
        if self.patch[0] != 1:
            raise ValueError(f"patch {self.patch} joins frames; its temporal size must be 1")

    @property
    def stage_channels(self) -> tuple[int, ...]:
        """Width of every stage's output."""
        return tuple(self.channels * 2**stage for stage in range(len(self.depths)))


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
    "video-swin-s": VideoSwinConfig(channels=96, heads=(3, 6, 12, 24)),
    "video-swin-t": VideoSwinConfig(channels=96, depths=(2, 2, 6, 2), heads=(3, 6, 12, 24)),
    "resnet-50": ResNetConfig(),
}


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
