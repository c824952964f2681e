"""ResNets without their last stage, and the keys by which frames are compared."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.ops import FrozenBatchNorm2d

from cutie.config import ResNetShape


class EncoderMaps(NamedTuple):
    """Maps of an encoder at strides 4, 8 and 16, [B, C, h, w] each."""

    s4: Tensor
    s8: Tensor
    s16: Tensor


class ResNetEncoder(nn.Module):
    """A ResNet of torchvision, cut after its third stage.

    Args:
        shape: blocks and depths.
        in_channels: 3 for an image, more where masks lie on top of it.
    """

    def __init__(self, shape: ResNetShape, in_channels: int = 3):
        super().__init__()
        block = {"basic": BasicBlock, "bottleneck": Bottleneck}[shape.block]
        whole = ResNet(block, [*shape.depths, 1], norm_layer=FrozenBatchNorm2d)
        first = nn.Conv2d(in_channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.stem = nn.Sequential(first, whole.bn1, whole.relu, whole.maxpool)
        self.stages = nn.ModuleList([whole.layer1, whole.layer2, whole.layer3])

    def forward(self, images: Tensor) -> EncoderMaps:
        """Maps of normalised images [B, in_channels, H, W]."""
        s4 = self.stages[0](self.stem(images))
        s8 = self.stages[1](s4)
        return EncoderMaps(s4, s8, self.stages[2](s8))


class FrameKeys(NamedTuple):
    """How each pixel of a frame is found, and finds others.

    Attributes:
        key: float32 [h * w, key_dim].
        shrinkage: float32 [h * w, 1], at least 1: how sharply a remembered pixel is told from others.
        selection: float32 [h * w, key_dim] in 0..1: how much each channel counts for a pixel that searches.
    """

    key: Tensor
    shrinkage: Tensor
    selection: Tensor


class KeyProjection(nn.Module):
    """Keys from an encoder's deepest map."""

    def __init__(self, in_channels: int, dim: int, key_dim: int):
        super().__init__()
        self.reduce = nn.Conv2d(in_channels, dim, kernel_size=1)
        self.key = nn.Conv2d(dim, key_dim, kernel_size=3, padding=1)
        self.shrinkage = nn.Conv2d(dim, 1, kernel_size=3, padding=1)
        self.selection = nn.Conv2d(dim, key_dim, kernel_size=3, padding=1)

    def forward(self, s16: Tensor) -> FrameKeys:
        """Keys of one frame's map [1, C, h, w]."""
        reduced = self.reduce(s16)

        def tokens(projection: nn.Module) -> Tensor:
            return projection(reduced)[0].flatten(1).mT.float()

        return FrameKeys(
            key=tokens(self.key),
            shrinkage=tokens(self.shrinkage).square() + 1,
            selection=torch.sigmoid(tokens(self.selection)),
        )
