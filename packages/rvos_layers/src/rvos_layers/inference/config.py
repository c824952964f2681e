"""What a network sees of a video at once: frame sizes and windows."""

from dataclasses import dataclass
from typing import Self

from rvos_layers.errors import RVOSLayersError


@dataclass(frozen=True, kw_only=True, slots=True)
class ResizeRule:
    """Size of a frame for the network.

    Attributes:
        short: length of the short side.
        longest: limit of the long side; None for no limit. The short side becomes shorter where the limit requires it.
    """

    short: int = 360
    longest: int | None = 640

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Resized (height, width) of a frame of (height, width).

        The long side is truncated, not rounded, so it may differ from the exact value by one pixel. A frame whose short
        side fits keeps its size. This is the arithmetic of the published scripts.
        """
        low, high = float(min(size)), float(max(size))
        short = self.short
        if self.longest is not None and high / low * short > self.longest:
            short = round(self.longest * low / high)
        if min(size) == short:
            return size
        height, width = size
        return (short, int(short * width / height)) if height < width else (int(short * height / width), short)


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """How a video is cut.

    Attributes:
        frames: of a window.
        overlap: frames that neighbours share; 1 to half a window. The last window begins earlier to have all its
            frames, so that it may share more.

    Raises:
        RVOSLayersError: there are not so many.
    """

    frames: int
    overlap: int

    def __post_init__(self) -> None:
        if not 1 <= self.overlap <= self.frames // 2:
            raise RVOSLayersError(
                f"expected an overlap of 1 to {self.frames // 2} frames, half a window of {self.frames}, "
                f"found {self.overlap}"
            )

    @classmethod
    def of(cls, frames: int | None, overlap: int | None) -> Self | None:
        """Windows of so many frames that share `overlap` frames, by default a quarter; None if `frames` is None.

        Raises:
            RVOSLayersError: an overlap without windows, or one that does not fit.
        """
        if frames is None:
            if overlap is not None:
                raise RVOSLayersError("an overlap goes with windows: give --window FRAMES, too")
            return None
        return cls(frames=frames, overlap=max(1, frames // 4) if overlap is None else overlap)

    def count(self, frames: int) -> int:
        """The number of windows of a video."""
        return 1 + -(-max(0, frames - self.frames) // (self.frames - self.overlap))
