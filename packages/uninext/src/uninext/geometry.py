"""What follows from a frame's size alone: one record for all frames of a video.

Letters: S tokens of all levels (level after level, row-major), L levels, C hidden channels. Coordinates are (x, y) in
units of the unpadded frame unless said otherwise.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from uninext.config import SIZE_DIVISIBILITY, STRIDES

ANCHOR_SIZE = 0.05  # of the frame, at the finest level; doubles from level to level
ANCHOR_MARGIN = 0.01  # an anchor with a number outside (margin, 1 - margin) is never proposed
TEMPERATURE = 10000.0


@dataclass(frozen=True, slots=True, eq=False)
class FrameGeometry:
    """Sizes, padding, position encoding and reference boxes of a frame.

    Attributes:
        image_size: (H, W) of the resized frame without padding.
        padded_size: (H, W) of the network input.
        level_sizes: (H, W) of each feature level.
        padding: bool [S], True where a token lies in the padding.
        valid_ratios: [L, 2] share of each level's width and height that is not padding.
        position_encoding: [S, C] sinusoidal, without the learned part of the level.
        extent: int64 [2], width and height of `image_size`.
        centres: [S, L, 2] centre of each token's cell as a location on each level (units of the padded level).
        anchors: [S, 4] (cx, cy, w, h), the box that each token's proposal starts from.
        valid_anchors: bool [S], False for padding and for anchors too near the border.
    """

    image_size: tuple[int, int]
    padded_size: tuple[int, int]
    level_sizes: tuple[tuple[int, int], ...]
    padding: Tensor
    valid_ratios: Tensor
    position_encoding: Tensor
    extent: Tensor
    centres: Tensor
    anchors: Tensor
    valid_anchors: Tensor

    @property
    def tokens(self) -> int:
        """S."""
        return self.padding.numel()

    def split(self, tokens: Tensor) -> list[Tensor]:
        """Split [..., S, C] into one map [..., C, H, W] for each level."""
        parts = tokens.split([height * width for height, width in self.level_sizes], dim=-2)
        return [part.mT.unflatten(-1, size) for part, size in zip(parts, self.level_sizes, strict=True)]


def frame_geometry(image_size: tuple[int, int], hidden_size: int, device: torch.device | str = "cpu") -> FrameGeometry:
    """The geometry of frames of one size.

    Args:
        image_size: (H, W) of the resized frame without padding.
        hidden_size: channels C of the position encoding, a multiple of 4.
        device: of the tensors. They are computed on the CPU, so that every device starts from equal numbers.
    """
    padded_size = tuple(-(-side // SIZE_DIVISIBILITY) * SIZE_DIVISIBILITY for side in image_size)
    level_sizes = tuple((-(-padded_size[0] // stride), -(-padded_size[1] // stride)) for stride in STRIDES)
    level_padding = _level_padding(image_size, padded_size, level_sizes)
    valid_cells = torch.stack([_valid_cells(padding) for padding in level_padding])  # [L, 2] (x, y)
    cells = torch.tensor(level_sizes, dtype=torch.float32).flip(-1)  # [L, 2] (x, y)
    valid_ratios = valid_cells / cells

    centres, anchors = [], []
    for level, size in enumerate(level_sizes):
        on_level = _cell_centres(size) / valid_cells[level]  # [H*W, 2]
        centres.append(on_level[:, None] * valid_ratios)
        anchors.append(torch.cat([on_level, torch.full_like(on_level, ANCHOR_SIZE * 2.0**level)], -1))
    anchor = torch.cat(anchors)
    padding = torch.cat([mask.flatten() for mask in level_padding])
    inside = ((anchor > ANCHOR_MARGIN) & (anchor < 1 - ANCHOR_MARGIN)).all(-1)
    return FrameGeometry(
        image_size=image_size,
        padded_size=(padded_size[0], padded_size[1]),
        level_sizes=level_sizes,
        padding=padding.to(device),
        valid_ratios=valid_ratios.to(device),
        position_encoding=torch.cat([_position_encoding(mask, hidden_size) for mask in level_padding]).to(device),
        extent=torch.tensor(image_size[::-1]).to(device),
        centres=torch.cat(centres).to(device),
        anchors=anchor.to(device),
        valid_anchors=(inside & ~padding).to(device),
    )


def sinusoidal_encoding(angles: Tensor, channels: int) -> Tensor:
    """Sine and cosine of `angles` [...] at `channels` / 2 falling frequencies, interleaved: [..., channels]."""
    exponents = torch.arange(0, channels, 2, dtype=torch.float32, device=angles.device) / channels
    waves = angles[..., None] / TEMPERATURE**exponents
    return torch.stack((waves.sin(), waves.cos()), -1).flatten(-2)


def _level_padding(
    image_size: tuple[int, int], padded_size: Sequence[int], level_sizes: Sequence[tuple[int, int]]
) -> list[Tensor]:
    """Padding of each level, bool [H, W]: sampled from the full frame, the coarsest level from the finest one."""
    full = torch.ones(1, 1, *padded_size)
    full[..., : image_size[0], : image_size[1]] = 0
    sampled = [functional.interpolate(full, size, mode="nearest") for size in level_sizes[:-1]]
    sampled.append(functional.interpolate(sampled[0], level_sizes[-1], mode="nearest"))
    return [mask[0, 0].bool() for mask in sampled]


def _valid_cells(padding: Tensor) -> Tensor:
    """Number of columns and rows that are not padding, float [2] (x, y)."""
    return torch.stack([(~padding[0]).sum(), (~padding[:, 0]).sum()]).float()


def _cell_centres(size: tuple[int, int]) -> Tensor:
    """Centres of a level's cells in cells, float [H*W, 2] (x, y)."""
    rows, columns = (torch.arange(side, dtype=torch.float32) + 0.5 for side in size)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack((x, y), -1).flatten(0, 1)


def _position_encoding(padding: Tensor, channels: int) -> Tensor:
    """Position encoding [H*W, channels] of one level, the half of y first; a full circle spans the valid cells."""
    halves = []
    for axis in (0, 1):
        count = (~padding).cumsum(axis, dtype=torch.float32)
        last = count.narrow(axis, -1, 1)
        halves.append(sinusoidal_encoding((count - 0.5) / (last + 1e-6) * (2 * math.pi), channels // 2))
    return torch.cat(halves, -1).flatten(0, 1)
