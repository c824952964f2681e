"""A frame together with an object's mask: what is remembered of the object there."""

import torch
from torch import Tensor, nn

from cutie.config import NetworkConfig
from cutie.encoder import ResNetEncoder
from cutie.fusion import ObjectFusion
from cutie.sensory import SensoryGates


class MaskEncoder(nn.Module):
    """Memory values of objects, and the sensory memory after a frame that is remembered."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        self.encoder = ResNetEncoder(config.mask_encoder, in_channels=5)
        self.fusion = ObjectFusion(config.dim, config.mask_encoder.channels[-1], config.dim)
        self.sensory = SensoryGates(config.dim, config.dim)

    def forward(
        self, image: Tensor, pixels: Tensor, masks: Tensor, rivals: Tensor, sensory: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Values and sensory memory, [N, C, h, w] each.

        Args:
            image: normalised, [1, 3, H, W].
            pixels: features of the frame [1, C, h, w].
            masks: probability of each object [N, H, W].
            rivals: that of the other objects of its job [N, H, W].
            sensory: [N, C, h, w].
        """
        planes = torch.stack([masks, rivals], dim=1)
        seen = self.encoder(torch.cat([image.expand(len(masks), -1, -1, -1), planes], dim=1).to(pixels.dtype)).s16
        values = self.fusion(pixels, seen)
        return values, self.sensory(values, sensory)
