"""Shapes of the published networks, by name."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from aot_deaot.errors import ConfigError

Family = Literal["aot", "deaot"]
MOBILENET_V2 = "mobilenet_v2"
RESNET50 = "resnet50"


@dataclass(frozen=True, slots=True, kw_only=True)
class SwinShape:
    """A Swin Transformer cut after its third stage.

    Attributes:
        embed_dim: channels of the first stage; each later stage has twice as many.
        depths: blocks of the three stages.
        num_heads: attention heads of the three stages.
        window: side of an attention window, in tokens.
    """

    embed_dim: int
    depths: tuple[int, int, int]
    num_heads: tuple[int, int, int]
    window: int

    def __post_init__(self):
        for stage, heads in enumerate(self.num_heads):
            if self.embed_dim * 2**stage % heads:
                raise ConfigError(
                    f"Swin stage {stage}: {self.embed_dim * 2**stage} channels do not divide into {heads} heads"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """Shape of a network.

    Attributes:
        family: `aot` (long short-term transformer) or `deaot` (gated propagation).
        encoder: a Swin shape, or the name of a convolutional encoder.
        hidden_size: width C of the propagation layers.
        layers: how many propagation layers.
        num_heads: heads of the self-attention (AOT; DeAOT has one).
        num_memory_heads: heads of the long- and short-term attention (AOT; DeAOT has one).
        max_objects: ids that one object set can hold, background not counted.
        align_corners: the corner convention of every resize; True goes with odd network sizes and a 17-pixel id kernel.
        radius: the short-term attention sees a window of 2 * radius + 1 tokens a side.
        feedforward_dim: hidden width of AOT's feed-forward part.
        expansion: DeAOT's value width in units of `hidden_size`.
        long_term_gap: frames between two entries of the long-term memory; None stores the key frame alone.
        short_side: every frame is brought to this short side, in pixels, before the scales apply; None keeps its size
            but for the limits of `preprocess.SizeLimits`.
    """

    family: Family
    encoder: SwinShape | Literal["mobilenet_v2", "resnet50"]
    hidden_size: int = 256
    layers: int = 3
    num_heads: int = 8
    num_memory_heads: int = 8
    max_objects: int = 10
    align_corners: bool = False
    radius: int = 7
    feedforward_dim: int = 1024
    expansion: int = 2
    long_term_gap: int | None = 5
    short_side: int | None = None

    def __post_init__(self):
        if self.family not in ("aot", "deaot"):
            raise ConfigError(f"family is 'aot' or 'deaot', not {self.family!r}")
        if isinstance(self.encoder, str) and self.encoder not in (MOBILENET_V2, RESNET50):
            raise ConfigError(f"encoder is a SwinShape, {MOBILENET_V2!r} or {RESNET50!r}, not {self.encoder!r}")
        for field in ("hidden_size", "layers", "num_heads", "num_memory_heads", "max_objects", "radius"):
            if getattr(self, field) < 1:
                raise ConfigError(f"{field} is at least 1, not {getattr(self, field)}")
        for heads in (self.num_heads, self.num_memory_heads) if self.family == "aot" else ():
            if self.hidden_size % heads:
                raise ConfigError(f"{self.hidden_size} channels do not divide into {heads} heads")
        if self.long_term_gap is not None and self.long_term_gap < 1:
            raise ConfigError(f"long_term_gap is at least 1 frame or None, not {self.long_term_gap}")

    @property
    def stride(self) -> int:
        """Pixels of one token's side."""
        return 16


SWIN_L = SwinShape(embed_dim=192, depths=(2, 2, 18), num_heads=(6, 12, 24), window=12)
SWIN_B = SwinShape(embed_dim=128, depths=(2, 2, 18), num_heads=(4, 8, 16), window=7)
SWIN_TINY = SwinShape(embed_dim=16, depths=(2, 2, 2), num_heads=(2, 4, 8), window=4)
SWIN_DEMO = SwinShape(embed_dim=32, depths=(1, 1, 2), num_heads=(2, 4, 8), window=5)


def _configs(family: Family) -> dict[str, NetworkConfig]:
    """The models of both public repositories; the first is the one the challenge used."""
    swin_l = NetworkConfig(family=family, encoder=SWIN_L)
    large = NetworkConfig(family=family, encoder=MOBILENET_V2, align_corners=True)
    base = replace(large, long_term_gap=None)
    name = family
    return {
        f"swinl_{name}l": swin_l,
        f"swinb_{name}l": replace(swin_l, encoder=SWIN_B),
        f"r50_{name}l": replace(large, encoder=RESNET50),
        f"{name}l": large,
        f"{name}b": base,
        f"{name}s": replace(base, layers=2),
        f"{name}t": replace(base, layers=1),
        # Not a published model: a miniature of the first one, for tests and trials.
        "tiny": NetworkConfig(
            family=family,
            encoder=SWIN_TINY,
            hidden_size=32,
            layers=2,
            num_heads=2,
            num_memory_heads=2,
            feedforward_dim=64,
            long_term_gap=2,
        ),
        # The network of the small weights that the programs ship (`demo`).
        "demo": NetworkConfig(
            family=family,
            encoder=SWIN_DEMO,
            hidden_size=64,
            layers=2,
            num_heads=4,
            num_memory_heads=4,
            feedforward_dim=128,
            radius=3,
            max_objects=6,
            long_term_gap=2,
            short_side=144,
        ),
    }


CONFIGS: Mapping[Family, Mapping[str, NetworkConfig]] = {"aot": _configs("aot"), "deaot": _configs("deaot")}


def named_config(family: Family, name: str) -> NetworkConfig:
    """The network of a family by its published name; an unknown name is a ConfigError that lists the names."""
    try:
        return CONFIGS[family][name]
    except KeyError:
        raise ConfigError(f"no {family} config is named {name!r}; there are {', '.join(CONFIGS[family])}") from None
