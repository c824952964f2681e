"""Frames as the published models see them."""

from collections.abc import Iterable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rvos_layers.errors import RVOSLayersError
from rvos_layers.inference.config import ResizeRule

MEAN = (0.485, 0.456, 0.406)  # ImageNet, RGB
STD = (0.229, 0.224, 0.225)


def resize_frame(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize uint8[H, W, 3] to uint8[*size, 3], by PIL's bilinear filter with its antialiasing."""
    height, width = size
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR))


def clip_of(frames: Iterable[np.ndarray], rule: ResizeRule) -> Tensor:
    """Frames of one video as the network takes them.

    Args:
        frames: uint8[H, W, 3] RGB each, all of one size; only resized ones are held.
        rule: how large they become.

    Returns:
        float32[1, T, 3, h, w].

    Raises:
        RVOSLayersError: a frame is not like that.
    """
    resized: list[np.ndarray] = []
    shape = None
    for place, frame in enumerate(frames):
        shape = frame.shape if shape is None else shape
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.shape != shape:
            raise RVOSLayersError(
                f"frame {place}: expected RGB uint8 [H, W, 3], all of one size (the first is {list(shape)}), "
                f"found {frame.dtype} {list(frame.shape)}"
            )
        resized.append(resize_frame(frame, rule.size(frame.shape[:2])))
    return normalise(torch.from_numpy(np.stack(resized)))[None]


def normalise(frames: Tensor) -> Tensor:
    """uint8[..., h, w, 3] RGB to float32[..., 3, h, w] of zero mean and unit deviation over ImageNet."""
    mean, std = (torch.tensor(values, device=frames.device) for values in (MEAN, STD))
    return ((frames.float() / 255 - mean) / std).movedim(-1, -3)
