"""Frames and id maps to network size, probabilities back to video size."""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from program_kit.torch.transfer import constant, to_device
from torch import Tensor

from cutie.config import STRIDE

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def shrunk(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """A video size (H, W) with a short side of at most `short_side`; the long side in proportion, rounded down."""
    short, long = sorted(size)
    if short <= short_side:
        return size
    long = int(short_side * long / short)
    return (short_side, long) if size[0] == short else (long, short_side)


class NetworkView:
    """A video as the network sees it: shrunk, then padded on all sides to multiples of 16 pixels.

    Args:
        size: (H, W) of the video.
        short_side: frames with a longer short side are shrunk to it.

    Attributes:
        size: (H, W) of the video.
        inner: (h, w) without padding.
        padding: pixels left, right, above and below.
    """

    def __init__(self, size: tuple[int, int], short_side: int):
        self.size = size
        self.inner = shrunk(size, short_side)
        missing = [-side % STRIDE for side in self.inner]
        (above, below), (left, right) = ((pixels // 2, pixels - pixels // 2) for pixels in missing)
        self.padding = (left, right, above, below)

    @property
    def padded(self) -> tuple[int, int]:
        """(h, w) with padding."""
        left, right, above, below = self.padding
        return self.inner[0] + above + below, self.inner[1] + left + right

    def image(self, frame: NDArray[np.uint8], device: torch.device) -> Tensor:
        """RGB frame uint8 [H, W, 3] to a normalised float32 image [1, 3, h, w]; the padding is black."""
        return self.normalised(to_device(torch.from_numpy(frame), device))

    def normalised(self, frame: Tensor) -> Tensor:
        """The same of a frame that is on the device already."""
        image = frame.permute(2, 0, 1)[None] / 255
        if self.inner != self.size:
            image = F.interpolate(image, self.inner, mode="bilinear", antialias=True)
        mean, std = (constant(values, frame.device)[:, None, None] for values in (MEAN, STD))
        return (F.pad(image, self.padding) - mean) / std

    def labels(self, numbers: Tensor) -> Tensor:
        """Number maps uint8 [H, W] to [h, w] by nearest neighbour; the padding is background."""
        if self.inner != self.size:
            numbers = F.interpolate(numbers[None, None].float(), self.inner, mode="nearest")[0, 0].to(numbers.dtype)
        return F.pad(numbers, self.padding)

    def restore(self, probabilities: Tensor) -> Tensor:
        """Probabilities [n, h, w] to [n, H, W]."""
        left, _, above, _ = self.padding
        height, width = self.inner
        inner = probabilities[:, above : above + height, left : left + width]
        if self.inner == self.size:
            return inner
        return F.interpolate(inner[None], self.size, mode="bilinear", align_corners=False)[0]
