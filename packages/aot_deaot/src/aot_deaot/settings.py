"""The procedure: augmentations, network size, memory, and which faults of the published runner are repeated."""

from dataclasses import dataclass, field, replace
from typing import Literal

from aot_deaot.config import NetworkConfig
from aot_deaot.errors import ConfigError

DEFAULT_CACHE = 4 * 2**30  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeLimits:
    """A frame is shrunk until its edges keep these limits; the scales apply afterwards.

    Attributes:
        short_edge: in pixels; None for no limit. aot-benchmark uses 624 where several scales are given.
        long_edge: in pixels; None for no limit.
        enlarge: whether a frame with a shorter short edge is enlarged to it first; the published code never does.
    """

    short_edge: float | None = None
    long_edge: float | None = 1040.0
    enlarge: bool = False

    def __post_init__(self):
        if self.enlarge and self.short_edge is None:
            raise ConfigError("enlarge needs a short_edge to enlarge to")

    @classmethod
    def of(cls, config: NetworkConfig) -> "SizeLimits":
        """The limits that a network was trained with."""
        return cls() if config.short_side is None else cls(short_edge=config.short_side, enlarge=True)


@dataclass(frozen=True, slots=True)
class Augmentation:
    """One view of every frame: its scale, and whether it is mirrored left to right."""

    scale: float
    mirrored: bool


def augmentations(scales: tuple[float, ...], flip: bool) -> tuple[Augmentation, ...]:
    """Every scale, each plain and then mirrored if `flip`.

    Raises:
        ConfigError: no scale, or one that is not positive.
    """
    if not scales or min(scales) <= 0:
        raise ConfigError(f"expected one or more positive scales, found {list(scales)}")
    return tuple(
        Augmentation(scale, mirrored) for scale in scales for mirrored in ((False, True) if flip else (False,))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPolicy:
    """Which frames are remembered.

    Attributes:
        long_term_gap: a propagated frame enters the long-term memory when this many frames have passed since the last
            one; None keeps the key frame alone.
        short_term_skip: the short-term memory is the frame this many steps back.
        long_term_cap: most frames in the long-term memory, key frame included; the oldest other frame makes room.
            None never drops one, which is the published behaviour.
        restart_clock: adding a reference sets the time of the last entry to 0 and not to the running frame counter
            (the challenge's AOT runner; only matters when a memory gets a second reference).
    """

    long_term_gap: int | None
    short_term_skip: int = 1
    long_term_cap: int | None = None
    restart_clock: bool = False

    def __post_init__(self):
        if self.short_term_skip < 1:
            raise ConfigError(f"short_term_skip is at least 1 frame, not {self.short_term_skip}")
        if self.long_term_cap is not None and self.long_term_cap < 2:
            raise ConfigError(f"long_term_cap is at least 2 frames (key frame and one more), not {self.long_term_cap}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PropagationSettings:
    """The procedure; the defaults are the corrected one.

    Attributes:
        scales, flip: the augmentations.
        limits: of the unscaled network size.
        memory: which frames are remembered.
        active_ids: `objects` lets the job's objects and the background compete; `all` every id the network knows.
        feedback: the label that enters the memories is that of the `average` over the augmentations, or each
            augmentation's `own`.
        keep_memory: begin the backward pass with the memory of the forward pass.
    """

    scales: tuple[float, ...] = (0.8, 1.0, 1.2)
    flip: bool = True
    limits: SizeLimits = field(default_factory=SizeLimits)
    memory: MemoryPolicy
    active_ids: Literal["objects", "all"] = "objects"
    feedback: Literal["average", "own"] = "average"
    keep_memory: bool = False

    def __post_init__(self):
        augmentations(self.scales, self.flip)
        for name, choices in (("active_ids", ("objects", "all")), ("feedback", ("average", "own"))):
            if getattr(self, name) not in choices:
                raise ConfigError(f"{name} is one of {', '.join(choices)}, not {getattr(self, name)!r}")


def corrected(config: NetworkConfig) -> PropagationSettings:
    """The default: each direction starts from the key frame alone, and only the given objects compete."""
    return PropagationSettings(limits=SizeLimits.of(config), memory=MemoryPolicy(long_term_gap=config.long_term_gap))


def faithful(config: NetworkConfig) -> PropagationSettings:
    """The procedure of the challenge's runner, faults included.

    The backward pass keeps the memory of the forward pass. AOT's runner lets all ids compete and sets the
    time of the last memory entry to 0 at the second key frame. DeAOT's runner was never published: this is AOT's, with
    the two changes that the DeAOT engine of that time implies.
    """
    settings = replace(corrected(config), keep_memory=True)
    if config.family == "aot":
        return replace(settings, active_ids="all", memory=replace(settings.memory, restart_clock=True))
    return settings
