"""The procedure: frame size, and which frames are remembered for how long."""

from dataclasses import dataclass, field

from cutie.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class LongTerm:
    """A long-term memory of single pixels; frames that leave the working memory are condensed into it.

    The defaults are the published ones.

    Attributes:
        most_frames: frames at which the working memory is condensed, key frame included.
        least_frames: frames that stay in the working memory then, key frame included.
        prototypes: pixels that stand for the frames that leave.
        most_tokens: most pixels that the long-term memory holds.
        spare_tokens: how far below `most_tokens` the least used pixels are dropped when it is full.
    """

    most_frames: int = 10
    least_frames: int = 5
    prototypes: int = 128
    most_tokens: int = 10_000
    spare_tokens: int = 2_000

    def __post_init__(self):
        if not 2 <= self.least_frames < self.most_frames:
            raise ConfigError(
                f"least_frames is at least 2 and below most_frames, not {self.least_frames} and {self.most_frames}"
            )
        if self.prototypes < 1 or self.spare_tokens < 0 or self.most_tokens <= self.prototypes + self.spare_tokens:
            raise ConfigError(
                f"most_tokens is above prototypes and spare_tokens together, not {self.most_tokens} "
                f"with {self.prototypes} and {self.spare_tokens}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPolicy:
    """Which frames are remembered; the defaults are the published ones for videos of a minute or less.

    Attributes:
        gap: every `gap`-th frame after the key frame enters the memory.
        frames: most frames in the working memory, key frame included, which is never dropped; the oldest other frame
            makes room. Only without long-term memory.
        top: pixels of the memory that a pixel reads: those most like it.
        long_term: None for no long-term memory.
    """

    gap: int = 5
    frames: int = 5
    top: int = 30
    long_term: LongTerm | None = None

    def __post_init__(self):
        for name, least in (("gap", 1), ("frames", 2), ("top", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is at least {least}, not {getattr(self, name)}")

    def most_tokens(self, frame: int) -> int:
        """Most pixels that are in memory at a time, where a frame has so many."""
        if self.long_term is None:
            return (self.frames + 1) * frame  # one more while a frame is added
        return self.long_term.most_frames * frame + self.long_term.most_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class PropagationSettings:
    """The procedure.

    Attributes:
        short_side: frames with a longer short side are shrunk to it, in pixels.
        memory: which frames are remembered.
    """

    short_side: int = 480
    memory: MemoryPolicy = field(default_factory=MemoryPolicy)

    def __post_init__(self):
        if self.short_side < 16:
            raise ConfigError(f"short_side is at least 16 pixels, not {self.short_side}")
