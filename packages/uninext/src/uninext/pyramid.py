"""Backbone maps to one sequence of tokens: four levels of equal channels.

Letters: B frames, S tokens of all levels, C hidden channels.
"""

import torch
from torch import Tensor, nn

from uninext.config import LEVELS
from uninext.geometry import FrameGeometry


class FeaturePyramid(nn.Module):
    """A 1x1 convolution and a group norm a level; the fourth level is made from the raw third one by stride 2."""

    def __init__(self, backbone_channels: tuple[int, int, int], channels: int) -> None:
        super().__init__()
        convolutions = [nn.Conv2d(given, channels, 1) for given in backbone_channels]
        convolutions.append(nn.Conv2d(backbone_channels[-1], channels, 3, stride=2, padding=1))
        self.projections = nn.ModuleList(nn.Sequential(conv, nn.GroupNorm(32, channels)) for conv in convolutions)
        self.level_codes = nn.Parameter(torch.randn(LEVELS, channels))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Maps [B, C_i, H_i, W_i] at strides 8, 16, 32 to maps [B, C, H_i, W_i] at strides 8, 16, 32, 64."""
        return [project(x) for project, x in zip(self.projections, [*maps, maps[-1]], strict=True)]

    def positions(self, geometry: FrameGeometry) -> Tensor:
        """Position codes [S, C]: the sine codes of the place and the learned code of the level."""
        sizes = [height * width for height, width in geometry.level_sizes]
        levels = torch.cat([code.expand(size, -1) for code, size in zip(self.level_codes, sizes, strict=True)])
        return geometry.position_codes + levels


def flatten_levels(maps: list[Tensor]) -> Tensor:
    """Maps [B, C, H_i, W_i] of all levels to tokens [B, S, C]."""
    return torch.cat([x.flatten(2).mT for x in maps], 1)
