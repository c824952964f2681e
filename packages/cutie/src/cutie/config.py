"""Shapes of the published networks, by name."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from cutie.errors import ConfigError

Block = Literal["basic", "bottleneck"]
STRIDE = 16  # pixels of one token's side


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNetShape:
    """A ResNet cut after its third stage.

    Attributes:
        block: `basic` (two convolutions) or `bottleneck` (three, four times as many channels).
        depths: blocks of the three stages.
    """

    block: Block
    depths: tuple[int, int, int]

    def __post_init__(self):
        if self.block not in get_args(Block):
            raise ConfigError(f"block is one of {', '.join(get_args(Block))}, not {self.block!r}")
        if len(self.depths) != 3 or min(self.depths) < 1:
            raise ConfigError(f"depths are three numbers of at least 1, not {self.depths}")

    @property
    def channels(self) -> tuple[int, int, int]:
        """Channels of the three stages, at strides 4, 8 and 16."""
        expansion = 4 if self.block == "bottleneck" else 1
        return 64 * expansion, 128 * expansion, 256 * expansion


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """Shape of a network.

    Attributes:
        image_encoder: sees frames.
        mask_encoder: sees a frame together with an object's mask.
        dim: width C of pixel features, memory values, sensory memory and object queries.
        key_dim: width of the keys by which frames are compared.
        decoder_dim: channels of the decoder at strides 8 and 4.
        queries: of an object; the first half looks at the object, the second half at everything else.
        blocks: of the object transformer.
        num_heads: of its attention.
        feedforward_dim: hidden width of its feed-forward part.
    """

    image_encoder: ResNetShape
    mask_encoder: ResNetShape
    dim: int = 256
    key_dim: int = 64
    decoder_dim: int = 128
    queries: int = 16
    blocks: int = 3
    num_heads: int = 8
    feedforward_dim: int = 2048

    def __post_init__(self):
        for field in ("dim", "key_dim", "decoder_dim", "queries", "blocks", "num_heads", "feedforward_dim"):
            if getattr(self, field) < 1:
                raise ConfigError(f"{field} is at least 1, not {getattr(self, field)}")
        if self.dim % self.num_heads or self.dim % 4:
            raise ConfigError(f"{self.dim} channels do not divide into {self.num_heads} heads and 4 position codes")
        if self.queries % 2:
            raise ConfigError(f"queries is an even number, not {self.queries}")


RESNET18 = ResNetShape(block="basic", depths=(2, 2, 2))
RESNET50 = ResNetShape(block="bottleneck", depths=(3, 4, 6))

BASE = NetworkConfig(image_encoder=RESNET50, mask_encoder=RESNET18)

CONFIGS: Mapping[str, NetworkConfig] = {
    "base": BASE,
    "small": replace(BASE, image_encoder=RESNET18),
    # Not a published model: a miniature of the first one, for tests and trials.
    "tiny": NetworkConfig(
        image_encoder=ResNetShape(block="bottleneck", depths=(1, 1, 1)),
        mask_encoder=ResNetShape(block="basic", depths=(1, 1, 1)),
        dim=32,
        key_dim=16,
        decoder_dim=16,
        queries=4,
        blocks=2,
        num_heads=2,
        feedforward_dim=48,
    ),
}


def named_config(name: str) -> NetworkConfig:
    """The network of a name; an unknown name is a ConfigError that lists the names."""
    try:
        return CONFIGS[name]
    except KeyError:
        raise ConfigError(f"no config is named {name!r}; there are {', '.join(CONFIGS)}") from None
