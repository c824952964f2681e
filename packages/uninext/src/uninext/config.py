"""Sizes of the network as validated records, and the configurations by name.

The sizes of `convnext-l` and `vit-h` are those of the published checkpoints
(`projects/UNINEXT/configs/video_joint_r50.yaml` with the backbone and evaluation files, UNINEXT at 5ab0386).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rvos_layers.encoders.config import DEMO

from uninext.errors import ConfigError

LEVELS = 4  # three of the backbone (strides 8, 16, 32) and one more (64)
STRIDES = (8, 16, 32, 64)
SIZE_DIVISIBILITY = 32
PUBLISHED_SHORT_SIDE = 480


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvNeXtConfig:
    """ConvNeXt image backbone (Liu et al. 2022); stages 1 to 3 are used, each with its own norm."""

    depths: tuple[int, int, int, int] = (3, 3, 27, 3)
    dims: tuple[int, int, int, int] = (192, 384, 768, 1536)
    layer_scale: bool = True
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        if len(self.depths) != 4 or len(self.dims) != 4:
            raise ConfigError(f"ConvNeXt has four stages, got depths={self.depths}, dims={self.dims}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ViTConfig:
    """Plain ViT image backbone with windowed and global blocks (Li et al. 2022, "Exploring plain ViT backbones").

    The published ViT-H keeps the list of windowed blocks of ViT-B, so 24 of its 32 blocks attend globally.
    """

    embed_dim: int = 1280
    depth: int = 32
    num_heads: int = 16
    mlp_ratio: float = 4.0
    patch_size: int = 16
    img_size: int = 1024
    pretrain_img_size: int = 224
    window_size: int = 14
    window_block_indexes: tuple[int, ...] = (0, 1, 3, 4, 6, 7, 9, 10)
    qkv_bias: bool = True
    use_abs_pos: bool = True
    use_rel_pos: bool = True
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        if self.patch_size != 16:
            raise ConfigError(f"the pyramid is built on one map of stride 16, got patch_size={self.patch_size}")
        if self.embed_dim % self.num_heads or self.embed_dim % 2:
            raise ConfigError(f"embed_dim={self.embed_dim} must be even and a multiple of num_heads={self.num_heads}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextConfig:
    """BERT text encoder; the defaults are `bert-base-uncased`."""

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    max_tokens: int = 256  # longer expressions are truncated
    dropout: float = 0.1  # in training
    tokenizer: str = "bert-base-uncased"  # the one that trained weights expect; a name that `load_tokenizer` takes


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """How a frame becomes network input: RGB, resized by its short side, normalised, padded right and below."""

    short_side: int = PUBLISHED_SHORT_SIDE
    long_side_limit: int = 1333
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)

    def __post_init__(self) -> None:
        if not 0 < self.short_side <= self.long_side_limit:
            raise ConfigError(f"need 0 < short_side <= long_side_limit, got {self.short_side}, {self.long_side_limit}")


@dataclass(frozen=True, slots=True, kw_only=True)
class UninextConfig:
    """The whole network."""

    name: str
    backbone: ConvNeXtConfig | ViTConfig
    text: TextConfig = field(default_factory=TextConfig)
    image: ImageConfig = field(default_factory=ImageConfig)
    hidden_size: int = 256
    num_heads: int = 8
    feedforward_dim: int = 2048
    encoder_layers: int = 6
    decoder_layers: int = 6
    encoder_points: int = 4
    decoder_points: int = 4
    num_queries: int = 900
    fusion_hidden_size: int = 2048
    fusion_num_heads: int = 8
    mask_channels: int = 8
    mask_layers: int = 3

    def __post_init__(self) -> None:
        if self.hidden_size % self.num_heads or self.hidden_size % 32:
            raise ConfigError(
                f"hidden_size={self.hidden_size} must be a multiple of 32 and of num_heads={self.num_heads}"
            )
        if self.fusion_hidden_size % self.fusion_num_heads:
            raise ConfigError(
                f"fusion_hidden_size={self.fusion_hidden_size} must be a multiple of "
                f"fusion_num_heads={self.fusion_num_heads}"
            )
        if min(self.encoder_layers, self.decoder_layers, self.num_queries) < 1 or self.mask_layers < 2:
            raise ConfigError(
                "encoder_layers, decoder_layers and num_queries must be at least 1 and mask_layers at least 2, got "
                f"{self.encoder_layers}, {self.decoder_layers}, {self.num_queries}, {self.mask_layers}"
            )


def _tiny(name: str, backbone: ConvNeXtConfig | ViTConfig) -> UninextConfig:
    """A miniature for tests, with random weights only: has every part and takes no time."""
    return UninextConfig(
        name=name,
        backbone=backbone,
        text=TextConfig(vocab_size=600, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64),
        feedforward_dim=64,
        encoder_layers=2,
        decoder_layers=3,
        num_queries=30,
        fusion_hidden_size=64,
    )


def _demo(name: str, backbone: ConvNeXtConfig | ViTConfig) -> UninextConfig:
    """A network whose weights the package ships. They differ in the backbone only, so that one can start another."""
    return UninextConfig(
        name=name,
        backbone=backbone,
        text=TextConfig(
            vocab_size=564,
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=128,
            max_position_embeddings=64,
            max_tokens=64,
            dropout=0.0,
            tokenizer=DEMO,
        ),
        image=ImageConfig(short_side=192),  # twice that of the training videos, as masks have a grid of 8 pixels
        hidden_size=64,
        num_heads=4,
        feedforward_dim=128,
        encoder_layers=1,
        decoder_layers=2,
        encoder_points=2,
        decoder_points=2,
        num_queries=8,
        fusion_hidden_size=128,
        fusion_num_heads=4,
    )


CONFIGS: Mapping[str, UninextConfig] = {
    config.name: config
    for config in (
        UninextConfig(name="convnext-l", backbone=ConvNeXtConfig()),  # published: video_joint_convnext_large
        UninextConfig(name="vit-h", backbone=ViTConfig()),  # published: video_joint_vit_huge
        _tiny("tiny-vit", ViTConfig(embed_dim=48, depth=4, num_heads=4, window_size=3, window_block_indexes=(0, 2))),
        _tiny("tiny-convnext", ConvNeXtConfig(depths=(1, 1, 2, 1), dims=(16, 24, 32, 48))),
        _demo("demo-convnext", ConvNeXtConfig(depths=(1, 1, 2, 1), dims=(24, 48, 96, 96), layer_scale=False)),
        _demo(
            "demo-vit",
            ViTConfig(
                embed_dim=96,
                depth=4,
                num_heads=4,
                mlp_ratio=2.0,
                img_size=320,
                pretrain_img_size=192,
                window_size=5,
                window_block_indexes=(0, 2),
            ),
        ),
    )
}


def named_config(name: str) -> UninextConfig:
    """The configuration of that name.

    Raises:
        ConfigError: no such name; the message lists the names.
    """
    if name not in CONFIGS:
        raise ConfigError(f"no configuration {name!r}; expected one of {', '.join(CONFIGS)}")
    return CONFIGS[name]
