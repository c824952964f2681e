"""How a feature map is divided into shifted windows, a few frames (a slab) at a time, for Video-Swin.

Shapes: B clips, T frames, h x w map, C channels, N tokens in a window.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import pad

MASKED_SCORE = -100.0  # added to the attention score of tokens that must not see each other, as published


@dataclass(frozen=True, slots=True)
class WindowLayout:
    """How a feature map is divided into (shifted) windows.

    Attributes:
        size: (T, h, w) of the map.
        window: window size; the whole axis where the axis is not longer than the configured window.
        shift: cyclic shift; 0 along such an axis.
    """

    size: tuple[int, int, int]
    window: tuple[int, int, int]
    shift: tuple[int, int, int]

    @classmethod
    def of(cls, size: tuple[int, ...], window: tuple[int, ...], shift: tuple[int, ...]) -> "WindowLayout":
        """The layout of a map of this size for a configured window and shift."""
        axes = list(zip(size, window, shift, strict=True))
        window = tuple(min(length, window) for length, window, _ in axes)
        shift = tuple(shift if length > window else 0 for length, window, shift in axes)
        return cls(tuple(size), window, shift)  # pyright: ignore[reportArgumentType]  three axes each

    @property
    def padded(self) -> tuple[int, ...]:
        """Size of the map after padding every axis to a multiple of its window."""
        return tuple(-(-length // window) * window for length, window in zip(self.size, self.window, strict=True))

    def slabs(self, frames: int) -> "Iterator[Slab]":
        """Slabs of about so many frames, at least of one window's depth; together they hold every frame once."""
        depth = max(1, frames // self.window[0]) * self.window[0]
        for start in range(0, self.padded[0], depth):
            yield Slab(self, start, min(start + depth, self.padded[0]))


@dataclass(frozen=True, slots=True)
class Slab:
    """The frames of one or several window depths. Windows are [B, K, I, J, N, C]: K in time, I rows of J, N tokens.

    Attributes:
        layout: windows of the whole map.
        start, stop: its positions along shifted, padded time.
    """

    layout: WindowLayout
    start: int
    stop: int

    @property
    def frames(self) -> tuple[slice, slice]:
        """The frames at its first positions, and those at its last ones, which the shift moved there from the start."""
        length, padded, shift = self.layout.size[0], self.layout.padded[0], self.layout.shift[0]
        first, last = self.start + shift, self.stop + shift
        return slice(min(first, length), min(last, length)), slice(max(0, first - padded), max(0, last - padded))

    def read(self, x: Tensor) -> Tensor:
        """Its frames of [B, T, h, w, C]; a view where they follow one another."""
        first, moved = (x[:, part] for part in self.frames)
        return torch.cat((first, moved), dim=1) if moved.shape[1] else first

    def write(self, frames: Tensor, x: Tensor) -> None:
        """Put what `read` gave back into `x`; nothing to do for a view."""
        first, moved = (x[:, part] for part in self.frames)
        if moved.shape[1]:
            first.copy_(frames[:, : first.shape[1]])
            moved.copy_(frames[:, first.shape[1] :])

    def to_windows(self, x: Tensor) -> Tensor:
        """Divide the slab's frames [B, frames, h, w, C] into windows."""
        size, padded, (_, down, right) = self.layout.size, self.layout.padded, self.layout.shift
        slab = x
        if padded[1:] != size[1:]:
            slab = pad(x, (0, 0, 0, padded[2] - size[2], 0, padded[1] - size[1]))
        if missing := self.stop - self.start - x.shape[1]:
            first = self._first
            nothing = slab.new_zeros(len(slab), missing, *slab.shape[2:])
            slab = torch.cat((slab[:, :first], nothing, slab[:, first:]), dim=1)
        if down or right:
            slab = slab.roll((-down, -right), (2, 3))
        depth, rows, columns = self.layout.window
        return rearrange(slab, "b (k t) (i r) (j c) d -> b k i j (t r c) d", t=depth, r=rows, c=columns)

    def from_windows(self, windows: Tensor) -> Tensor:
        """Undo `to_windows`: windows to [B, frames, h, w, C]."""
        depth, rows, columns = self.layout.window
        slab = rearrange(windows, "b k i j (t r c) d -> b (k t) (i r) (j c) d", t=depth, r=rows, c=columns)
        _, down, right = self.layout.shift
        if down or right:
            slab = slab.roll((down, right), (2, 3))
        first, moved = (part.stop - part.start for part in self.frames)
        if first + moved < slab.shape[1]:
            slab = torch.cat((slab[:, :first], slab[:, slab.shape[1] - moved :]), dim=1)
        _, height, width = self.layout.size
        return slab[:, :, :height, :width]

    @property
    def _first(self) -> int:
        return self.frames[0].stop - self.frames[0].start

    def parts(self, like: Tensor) -> Iterator[tuple[tuple[slice, ...], Tensor | None]]:
        """Cut the windows into parts that have one thing in common: which tokens must not see each other.

        Shifted windows at the end of an axis hold tokens of both ends. All others need no mask.

        Args:
            like: has the device and the type of the result.

        Yields:
            a part of the windows, and what is added to its attention scores, [N, N]; None for nothing.
        """
        at_end = [shift > 0 for shift in self.layout.shift]
        at_end[0] = at_end[0] and self.stop == self.layout.padded[0]
        counts = (self.stop - self.start) // self.layout.window[0], 2, 2  # of windows; a shifted axis has two or more
        choices = [
            [(slice(None), False)] if not mixed else [(slice(-1), False)] * (count > 1) + [(slice(-1, None), True)]
            for mixed, count in zip(at_end, counts, strict=True)
        ]
        for axes in product(*choices):
            mixed = tuple(flag for _, flag in axes)
            scores = separation(self.layout.window, self.layout.shift, mixed, like.device, like.dtype)
            yield (slice(None), *(part for part, _ in axes)), scores if any(mixed) else None


@lru_cache(maxsize=128)
def separation(
    window: tuple[int, int, int],
    shift: tuple[int, int, int],
    mixed: tuple[bool, ...],
    device: torch.device,
    dtype: torch.dtype,
) -> Tensor:
    """Scores [N, N] that keep tokens of a window apart which were no neighbours before the shift.

    Args:
        window, shift: as in `WindowLayout`.
        mixed: for each axis, whether the window holds tokens of both ends.
        device, dtype: of the result.
    """
    ends = [
        (torch.arange(length, device=device) >= length - moved) & flag
        for length, moved, flag in zip(window, shift, mixed, strict=True)
    ]
    tokens = torch.stack(torch.meshgrid(*ends, indexing="ij"), dim=-1).flatten(0, 2)  # [N, 3]
    differ = (tokens[:, None] != tokens[None]).any(-1)
    return differ.to(dtype) * MASKED_SCORE
