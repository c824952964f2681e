"""Frames and id maps to network size (`dataloaders/video_transforms.py` of the published code)."""

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from aot_deaot.settings import SizeLimits

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
STRIDE = 16


def network_size(
    size: tuple[int, int], scale: float, limits: SizeLimits, align_corners: bool = False
) -> tuple[int, int]:
    """Network size of a video, a multiple of 16 a side (with aligned corners: plus one pixel).

    Args:
        size: (H, W) of the video.
        scale: applied after the limits; may lead past them.
        limits: of the unscaled size.
        align_corners: the network's corner convention.
    """
    height, width = (float(side) for side in size)
    if limits.enlarge and limits.short_edge is not None:
        growth = max(1.0, limits.short_edge / min(height, width))
        height, width = growth * height, growth * width
    for limit, edge in ((limits.short_edge, min), (limits.long_edge, max)):
        if limit is not None and edge(height, width) > limit:
            shrink = limit / edge(height, width)
            height, width = shrink * height, shrink * width
    extra = 1 if align_corners else 0

    def fit(side: float) -> int:
        # Halves go to the even multiple, as in the published code.
        return max(1, round((int(side * scale) - extra) / STRIDE)) * STRIDE + extra

    return fit(height), fit(width)


def network_image(frame: NDArray[np.uint8], size: tuple[int, int]) -> Tensor:
    """RGB frame uint8 [H, W, 3] to a normalised float32 image [1, 3, h, w].

    Resized by OpenCV's cubic kernel in float32 without clipping, so that values may leave [0, 255] before normalising.
    """
    image = frame.astype(np.float32)
    if image.shape[:2] != size:
        image = cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
    image = (image / np.float32(255) - MEAN) / STD
    return torch.from_numpy(image).permute(2, 0, 1)[None].contiguous()


def network_labels(labels: Tensor, size: tuple[int, int], mirrored: bool) -> Tensor:
    """Id maps [B, H, W] at video size to [B, h, w] by nearest neighbour; mirrored first if asked for."""
    if mirrored:
        labels = labels.flip(-1)
    if labels.shape[-2:] == size:
        return labels
    return F.interpolate(labels[:, None].float(), size, mode="nearest")[:, 0].to(labels.dtype)
