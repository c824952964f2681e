"""ResNet backbone with frozen batch norm: torchvision's, applied to every frame alone."""

from collections.abc import Iterator

from program_kit.torch.memory import rows_at_once
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck
from torchvision.models.resnet import ResNet as TorchvisionResNet
from torchvision.ops import FrozenBatchNorm2d

from rvos_layers.chunks import map_chunks
from rvos_layers.encoders.config import ResNetConfig

GROWTH = 16  # numbers a pixel in the stem, at half the size, and in the first stage


class ResNet(nn.Module):
    """Frames to feature maps at strides 4, 8, 16 and 32; frames are independent."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        network = TorchvisionResNet(Bottleneck, list(config.depths), norm_layer=FrozenBatchNorm2d)
        self.stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
        self.stages = nn.ModuleList([network.layer1, network.layer2, network.layer3, network.layer4])

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
