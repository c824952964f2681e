"""Clips as ReferFormer and MUTR are trained on them: mirrored, other colours, a piece of them, many sizes.

Source: `datasets/ytvos.py`, `datasets/refexp.py` and `datasets/transforms_video.py` of ReferFormer. Colours are changed
by torchvision. What differs: saturation blends with grey in place of a factor in HSV; values beyond the brightest are
clipped, where the published code lets them wrap round to dark ones.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from rvos_layers.inference.config import ResizeRule
from torch import Tensor
from torchvision.transforms.v2 import functional as colours

from rvos_training.data.clips import Clip
from rvos_training.data.transforms import Sample, mirrored, rescaled, sample_of

BASE = 360  # short side in inference, to which the published sizes belong
CHANNEL_ORDERS = tuple(permutations(range(3)))
Change = Callable[[Tensor, float], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Distortion:
    """How colours of a frame change; every frame draws its own, each change with probability one half.

    Attributes:
        brightness: largest number added to or taken from all values, of 255.
        contrast, saturation: smallest and largest factor.
        hue: largest turn, in degrees.
    """

    brightness: float = 32.0
    contrast: tuple[float, float] = (0.5, 1.5)
    saturation: tuple[float, float] = (0.5, 1.5)
    hue: float = 18.0

    def __call__(self, frame: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
        """A frame uint8[H, W, 3] in other colours."""
        x = torch.from_numpy(frame.copy()).permute(2, 0, 1) / 255
        shift = self.brightness / 255
        contrast = (colours.adjust_brightness, *self.contrast)  # torchvision's brightness is the factor meant here
        tone = [(colours.adjust_saturation, *self.saturation), (colours.adjust_hue, -self.hue / 360, self.hue / 360)]
        changes: list[tuple[Change, float, float]] = [
            (lambda y, by: (y + by).clamp(0, 1), -shift, shift),
            *([contrast, *tone] if random.random() < 0.5 else [*tone, contrast]),
        ]
        for change, low, high in changes:
            if random.random() < 0.5:
                x = change(x, float(random.uniform(low, high)))
        if random.random() < 0.5:
            x = x[list(CHANNEL_ORDERS[random.integers(len(CHANNEL_ORDERS))])]
        return (x * 255).round().byte().permute(1, 2, 0).numpy()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Short sides of frames, of which one is drawn, and the limit of the long side."""

    short: tuple[int, ...]
    longest: int

    def draw(self, random: np.random.Generator) -> ResizeRule:
        """One of them."""
        return ResizeRule(short=int(random.choice(self.short)), longest=self.longest)

    def scaled(self, factor: float) -> Self:
        """The same for other frames."""
        return type(self)(
            short=tuple(round(side * factor) for side in self.short), longest=round(self.longest * factor)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """Mirrors and distorts a clip; resizes it, or a piece of it, each with probability one half.

    A piece that would show nothing of the object is not cut out (the published data sets take another clip then).

    Attributes:
        whole: sizes of whole frames.
        piece: sizes of pieces.
        before: short sides to which frames are brought before a piece is cut out.
        sides: shortest and longest side of a piece.
        distortion: of colours; None for none.
        faithful: as published, the box of a piece is what is left of the frame's box, and not drawn around what is left
            of the object; where only the box reaches into the piece, the object counts as visible.
    """

    whole: Sizes
    piece: Sizes
    before: tuple[int, ...] = (400, 500, 600)
    sides: tuple[int, int] = (384, 600)
    distortion: Distortion | None = None
    faithful: bool = False

    def __call__(self, clip: Clip, random: np.random.Generator) -> Sample:
        """The clip as it is this time."""
        if random.random() < 0.5:
            clip = mirrored(clip)
        if self.distortion is not None:
            clip = replace(clip, frames=np.stack([self.distortion(frame, random) for frame in clip.frames]))
        sizes = self.whole
        if random.random() < 0.5:
            sizes, clip = self.piece, self._piece_of(clip, random)
        return sample_of(rescaled(clip, sizes.draw(random).size(clip.size)))

    def scaled(self, factor: float) -> Self:
        """The same for frames that are so many times as large."""
        low, high = self.sides
        return replace(
            self,
            whole=self.whole.scaled(factor),
            piece=self.piece.scaled(factor),
            before=tuple(round(side * factor) for side in self.before),
            sides=(round(low * factor), round(high * factor)),
        )

    def _piece_of(self, clip: Clip, random: np.random.Generator) -> Clip:
        clip = rescaled(clip, ResizeRule(short=int(random.choice(self.before)), longest=None).size(clip.size))
        low, high = self.sides
        height, width = (int(random.integers(low, min(side, high), endpoint=True)) for side in clip.size)
        top, left = (
            int(random.integers(0, side - length, endpoint=True))
            for side, length in zip(clip.size, (height, width), strict=True)
        )
        piece = cut_out(clip, (top, left), (height, width), self.faithful)
        return piece if piece.visible.any() else clip


def cut_out(clip: Clip, corner: tuple[int, int], size: tuple[int, int], faithful: bool = False) -> Clip:
    """A piece of all frames.

    Args:
        clip: to cut from.
        corner: (top, left).
        size: (height, width).
        faithful: as of `Augmentation`.
    """
    (top, left), (height, width) = corner, size
    area = (slice(None), slice(top, top + height), slice(left, left + width))
    piece = Clip.of(clip.name, clip.text, clip.frames[area], clip.masks[area])
    if not faithful:
        return piece
    shift = np.array((left, top, left, top), np.float32)
    limit = np.array((width, height, width, height), np.float32)
    boxes = np.clip(clip.boxes - shift, 0, limit)
    visible = np.all(boxes[:, 2:] > boxes[:, :2], axis=1)
    return replace(piece, boxes=boxes * visible[:, None], visible=visible)


SHORT = (288, 320, 352, 392, 416, 448, 480, 512)
OF_CLIPS = Augmentation(
    whole=Sizes(short=SHORT, longest=640), piece=Sizes(short=SHORT, longest=640), distortion=Distortion()
)
OF_IMAGES = Augmentation(  # images that are no clips, in pre-training
    whole=Sizes(short=tuple(range(480, 769, 32)), longest=800),
    piece=Sizes(short=(296, 328, 360, 392, 416, 448, 480, 512), longest=640),
)
