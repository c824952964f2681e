"""Sine encodings of word and pixel positions, counted over what is not padding.

Source: `models/position_encoding.py` of ReferFormer, MUTR and SOC (equal in all three). Every encoding interleaves
the sine and the cosine of one frequency; frequencies fall geometrically from 1 to 1/10000.
"""

import math

import torch
from torch import Tensor

TEMPERATURE = 10000.0
EPSILON = 1e-6


def sine_encoding_1d(padding_mask: Tensor, channels: int) -> Tensor:
    """Encode word positions.

    Args:
        padding_mask: bool[B, L], True where a row is padded.
        channels: even.

    Returns:
        float32[B, L, channels]. The last word of a row has the angle 2 pi.
    """
    count = (~padding_mask).cumsum(1, dtype=torch.float32)
    return _sine_cosine(count / (count[:, -1:] + EPSILON) * (2 * math.pi), channels)


def sine_encoding_2d(padding_mask: Tensor, channels: int) -> Tensor:
    """Encode pixel positions: the first half of the channels is for the row, the second for the column.

    In fully padded columns and rows the divisor is `EPSILON`. The angles are huge there, and their sine depends on the
    order of the float32 operations. Published checkpoints were trained with this order: keep it.

    Args:
        padding_mask: bool[N, h, w], True where an image is padded.
        channels: divisible by 4.

    Returns:
        float32[N, channels, h, w].
    """
    valid = ~padding_mask
    angles = []
    for axis in (1, 2):
        count = valid.cumsum(axis, dtype=torch.float32)
        last = count.narrow(axis, count.shape[axis] - 1, 1)
        angles.append((count - 0.5) / (last + EPSILON) * (2 * math.pi))
    rows, columns = (_sine_cosine(angle, channels // 2) for angle in angles)
    return torch.cat((rows, columns), dim=3).permute(0, 3, 1, 2)


def _sine_cosine(angles: Tensor, channels: int) -> Tensor:
    exponents = 2 * torch.arange(channels // 2, dtype=torch.float32, device=angles.device) / channels
    phases = angles.unsqueeze(-1) / TEMPERATURE**exponents
    return torch.stack((phases.sin(), phases.cos()), dim=-1).flatten(-2)
