"""Frames as the published models take them: resized and normalised."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from PIL import Image
from program_kit.torch.transfer import constant, to_device
from torch import Tensor

from rvos_layers.errors import RVOSLayersError
from rvos_layers.inference.config import ResizeRule

MEAN = (0.485, 0.456, 0.406)  # ImageNet, RGB
STD = (0.229, 0.224, 0.225)


def resize_frame(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize uint8[H, W, 3] to uint8[*size, 3], by PIL's bilinear filter with its antialiasing."""
    height, width = size
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR))


def resized(frames: Iterable[np.ndarray], rule: ResizeRule) -> Iterator[np.ndarray]:
    """The frames of a video in the size for the network.

    Args:
        frames: uint8[H, W, 3] RGB each, all of one size.
        rule: their size for the network.

    Yields:
        uint8[h, w, 3].

    Raises:
        RVOSLayersError: a frame has another type or shape; names it.
    """
    shape = None
    for number, frame in enumerate(frames):
        shape = frame.shape if shape is None else shape
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.shape != shape:
            raise RVOSLayersError(
                f"frame {number}: expected RGB uint8 [H, W, 3], all of one size (the first is {list(shape)}), "
                f"found {frame.dtype} {list(frame.shape)}"
            )
        yield resize_frame(frame, rule.size(frame.shape[:2]))


def make_clip(frames: Sequence[np.ndarray], device: torch.device | str = "cpu") -> Tensor:
    """The network's input float32[1, T, 3, h, w] on a device, from T resized frames."""
    return normalise(to_device(torch.from_numpy(np.stack(frames)), torch.device(device)))[None]


def normalise(frames: Tensor) -> Tensor:
    """uint8[..., h, w, 3] RGB to float32[..., 3, h, w] of zero mean and unit deviation over ImageNet."""
    mean, std = (constant(values, frames.device) for values in (MEAN, STD))
    return ((frames.float() / 255 - mean) / std).movedim(-1, -3)
