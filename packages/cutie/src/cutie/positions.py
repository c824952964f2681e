"""Sine codes of places in a frame."""

from functools import lru_cache

import torch
from torch import Tensor

SCALE = 32.0  # of the last row and the last column
TEMPERATURE = 128.0


@lru_cache(maxsize=16)
def sine_positions(height: int, width: int, dim: int, device: torch.device) -> Tensor:
    """Codes float32 [height * width, dim]: first half for the column, second half for the row, sines and cosines."""
    half = dim // 2
    frequencies = TEMPERATURE ** -(torch.arange(0, half, 2, device=device, dtype=torch.float32) / half)

    def codes(length: int) -> Tensor:
        place = torch.arange(length, device=device, dtype=torch.float32) * (SCALE / (length - 1 + 1e-6))
        angles = place[:, None] * frequencies
        return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)

    columns = codes(width)[None].expand(height, width, half)
    rows = codes(height)[:, None].expand(height, width, half)
    return torch.cat([columns, rows], dim=-1).flatten(0, 1)
