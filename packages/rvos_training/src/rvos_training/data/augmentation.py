"""Clips as ReferFormer and MUTR train on them: mirrored, with other colours, cropped, in many sizes.

Source: `datasets/ytvos.py`, `datasets/refexp.py` and `datasets/transforms_video.py` of ReferFormer. torchvision changes
the colours. Two differences: saturation blends with grey instead of scaling S of HSV; values above the maximum are
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
    """Changes the colours of a frame, each kind of change with probability one half.

    Attributes:
        brightness: largest number added to all values or subtracted from them, of 255.
        contrast, saturation: smallest and largest factor.
        hue: largest shift, in degrees.
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
    """Sizes of frames to choose from.

    Attributes:
        short: short sides, in pixels.
        longest: limit of the long side, in pixels.
    """

    short: tuple[int, ...]
    longest: int

    def sample(self, random: np.random.Generator) -> ResizeRule:
        """One of the sizes."""
        return ResizeRule(short=int(random.choice(self.short)), longest=self.longest)

    def scaled(self, factor: float) -> Self:
        """The sizes for frames that are `factor` times as large."""
        return type(self)(
            short=tuple(round(side * factor) for side in self.short), longest=round(self.longest * factor)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """Mirrors a clip, changes its colours, and resizes it whole or cropped, each with probability one half.

    A crop that shows nothing of the object is not made (the published data sets take another clip instead).

    Attributes:
        whole: sizes of whole frames.
        crop: sizes of cropped frames.
        before_crop: short sides to which frames are resized before they are cropped, in pixels.
        crop_sides: shortest and longest side of a crop, in pixels.
        distortion: of colours; None for none.
        faithful: as published, the box in a crop is what is left of the frame's box, not the box of what is left of the
            object; where only the box reaches into the crop, the object counts as visible. Words are exchanged as
            `swap_sides` says.
    """

    whole: Sizes
    crop: Sizes
    before_crop: tuple[int, ...] = (400, 500, 600)
    crop_sides: tuple[int, int] = (384, 600)
    distortion: Distortion | None = None
    faithful: bool = False

    def __call__(self, clip: Clip, random: np.random.Generator) -> Sample:
        """The sample."""
        if random.random() < 0.5:
            clip = mirrored(clip, faithful_words=self.faithful)
        if self.distortion is not None:
            clip = replace(clip, frames=np.stack([self.distortion(frame, random) for frame in clip.frames]))
        sizes = self.whole
        if random.random() < 0.5:
            sizes, clip = self.crop, self._cropped(clip, random)
        return sample_of(rescaled(clip, sizes.sample(random).size(clip.size)))

    def scaled(self, factor: float) -> Self:
        """The same augmentation for frames that are `factor` times as large."""
        low, high = self.crop_sides
        return replace(
            self,
            whole=self.whole.scaled(factor),
            crop=self.crop.scaled(factor),
            before_crop=tuple(round(side * factor) for side in self.before_crop),
            crop_sides=(round(low * factor), round(high * factor)),
        )

    def _cropped(self, clip: Clip, random: np.random.Generator) -> Clip:
        clip = rescaled(clip, ResizeRule(short=int(random.choice(self.before_crop)), longest=None).size(clip.size))
        low, high = self.crop_sides
        height, width = (int(random.integers(low, min(side, high), endpoint=True)) for side in clip.size)
        top, left = (
            int(random.integers(0, side - length, endpoint=True))
            for side, length in zip(clip.size, (height, width), strict=True)
        )
        cropped = crop(clip, (top, left), (height, width), self.faithful)
        return cropped if cropped.visible.any() else clip


def crop(clip: Clip, corner: tuple[int, int], size: tuple[int, int], faithful: bool = False) -> Clip:
    """The same rectangle of all frames.

    Args:
        clip: the clip to crop.
        corner: (top, left).
        size: (height, width).
        faithful: as of `Augmentation`.
    """
    (top, left), (height, width) = corner, size
    area = (slice(None), slice(top, top + height), slice(left, left + width))
    cropped = Clip.of(clip.name, clip.text, clip.frames[area], clip.masks[area])
    if not faithful:
        return cropped
    shift = np.array((left, top, left, top), np.float32)
    limit = np.array((width, height, width, height), np.float32)
    boxes = np.clip(clip.boxes - shift, 0, limit)
    visible = np.all(boxes[:, 2:] > boxes[:, :2], axis=1)
    return replace(cropped, boxes=boxes * visible[:, None], visible=visible)


SHORT = (288, 320, 352, 392, 416, 448, 480, 512)
OF_CLIPS = Augmentation(
    whole=Sizes(short=SHORT, longest=640), crop=Sizes(short=SHORT, longest=640), distortion=Distortion()
)
OF_IMAGES = Augmentation(  # of single images, in pre-training
    whole=Sizes(short=tuple(range(480, 769, 32)), longest=800),
    crop=Sizes(short=(296, 328, 360, 392, 416, 448, 480, 512), longest=640),
)
