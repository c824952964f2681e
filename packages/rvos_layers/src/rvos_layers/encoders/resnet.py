"""ResNet backbone with frozen batch norm, applied to every frame alone.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; the same as torchvision's `ResNet` with
`Bottleneck` and `FrozenBatchNorm2d`, which is not imported: it takes as long as torch itself.
"""

from collections.abc import Iterator

import torch
from program_kit.torch.memory import rows_at_once
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from rvos_layers.chunks import map_chunks
from rvos_layers.encoders.config import ResNetConfig

GROWTH = 16  # numbers a pixel in the stem, at half the size, and in the first stage
EXPANSION = 4  # of a bottleneck's inner width
EPSILON = 1e-5


class ResNet(nn.Module):
    """Frames to feature maps at strides 4, 8, 16 and 32; frames are independent."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False),
            FrozenBatchNorm(64),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
        )
        self.stages, width = nn.ModuleList(), 64
        for stage, depth in enumerate(config.depths):
            inner = 64 * 2**stage
            blocks = [Bottleneck(width, inner, stride=1 if stage == 0 else 2)]
            width = EXPANSION * inner
            blocks += [Bottleneck(width, inner, stride=1) for _ in range(depth - 1)]
            self.stages.append(nn.Sequential(*blocks))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, frames: Tensor) -> list[Tensor]:
        """All stage outputs at once; see `iter_stages`."""
        return list(self.iter_stages(frames))

    def iter_stages(self, frames: Tensor) -> Iterator[Tensor]:
        """Yield the output of one stage after the other.

        Args:
            frames: [B, T, 3, H, W], normalised.

        Yields:
            [B, T, C, h, w] with h = ceil(H/4), halved and rounded up at each further stage.
        """
        pixels = frames.shape[3] * frames.shape[4]
        at_once = rows_at_once(frames.device, GROWTH * pixels * frames.element_size())
        x = map_chunks(self.stem, frames.flatten(0, 1), at_once)
        for stage in self.stages:
            x = map_chunks(stage, x, at_once)
            yield x.unflatten(0, frames.shape[:2])


class FrozenBatchNorm(nn.Module):
    """Batch norm whose statistics and scale never change."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        for name, start in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((width,), start))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to the same shape."""
        return batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=EPSILON)


class Bottleneck(nn.Module):
    """Three convolutions, the outer two of one pixel, beside a residual connection."""

    def __init__(self, width: int, inner: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, inner, kernel_size=1, bias=False)
        self.bn1 = FrozenBatchNorm(inner)
        self.conv2 = nn.Conv2d(inner, inner, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn2 = FrozenBatchNorm(inner)
        self.conv3 = nn.Conv2d(inner, EXPANSION * inner, kernel_size=1, bias=False)
        self.bn3 = FrozenBatchNorm(EXPANSION * inner)
        self.downsample = None
        if stride != 1 or width != EXPANSION * inner:
            shortcut = nn.Conv2d(width, EXPANSION * inner, kernel_size=1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, FrozenBatchNorm(EXPANSION * inner))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, 4 * inner, H/stride, W/stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.bn1(self.conv1(x)).relu_()
        x = self.bn2(self.conv2(x)).relu_()
        return (self.bn3(self.conv3(x)) + shortcut).relu_()
