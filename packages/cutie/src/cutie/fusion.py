"""What is known of a frame and what is known of an object, made one."""

import math

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


class ChannelAttentionBlock(nn.Module):
    """Two convolutions whose output channels are weighted by their mean over the frame, added to the input."""

    def __init__(self, dim: int):
        super().__init__()
        self.first = nn.Conv2d(dim, dim, kernel_size=3, padding=1)
        self.second = nn.Conv2d(dim, dim, kernel_size=3, padding=1)
        # Neighbouring channels have a say in a channel's weight; the more channels, the more of them (ECA-Net).
        reach = int((math.log2(dim) + 1) / 2) | 1
        self.weigh = nn.Conv1d(1, 1, kernel_size=reach, padding=reach // 2, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [N, C, h, w] to maps of the same shape."""
        found = self.second(F.relu(self.first(F.relu(maps))))
        weights = self.weigh(found.mean(dim=(2, 3))[:, None])[:, 0].sigmoid()
        return maps + found * weights[..., None, None]


class ObjectFusion(nn.Module):
    """Features of a frame, added to those of each object, and two blocks over the sum."""

    def __init__(self, frame_dim: int, object_dim: int, dim: int):
        super().__init__()
        self.frame = nn.Conv2d(frame_dim, dim, kernel_size=1)
        self.object = nn.Conv2d(object_dim, dim, kernel_size=1)
        self.blocks = nn.Sequential(ChannelAttentionBlock(dim), ChannelAttentionBlock(dim))

    def forward(self, frame: Tensor, objects: Tensor) -> Tensor:
        """Frame features [1, C, h, w] and object features [N, C', h, w] to [N, dim, h, w]."""
        return self.blocks(self.frame(frame) + self.object(objects))
