"""Frame sizes."""

from dataclasses import dataclass


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
