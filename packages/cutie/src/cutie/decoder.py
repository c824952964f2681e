"""From pixels that know their objects to logits."""

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from program_kit.torch.precision import keep_float32
from torch import Tensor, nn

from cutie.config import NetworkConfig
from cutie.encoder import EncoderMaps
from cutie.sensory import DecoderSensoryUpdate


class DecoderSkips(NamedTuple):
    """The decoder's image part at strides 8 and 4, [1, C, h, w] each."""

    s8: Tensor
    s4: Tensor


class UpBlock(nn.Module):
    """Doubles the resolution, adds the image, and refines with two convolutions."""

    def __init__(self, in_dim: int, out_dim: int):
        super().__init__()
        self.first = nn.Conv2d(in_dim, out_dim, kernel_size=3, padding=1)
        self.second = nn.Conv2d(out_dim, out_dim, kernel_size=3, padding=1)
        self.shortcut = nn.Identity() if in_dim == out_dim else nn.Conv2d(in_dim, out_dim, kernel_size=1)

    def forward(self, maps: Tensor, skip: Tensor) -> Tensor:
        """Maps [N, in_dim, h, w] and the image [1, in_dim, 2 h, 2 w] to [N, out_dim, 2 h, 2 w]."""
        maps = skip + F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)
        return self.shortcut(maps) + self.second(F.relu(self.first(F.relu(maps))))


class Decoder(nn.Module):
    """Two steps up, one logit for each pixel at stride 4, and what the sensory memory learns from it."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        s4, s8, _ = config.image_encoder.channels
        self.skip_s8 = nn.Conv2d(s8, config.dim, kernel_size=1)
        self.skip_s4 = nn.Conv2d(s4, config.decoder_dim, kernel_size=1)
        self.up_s8 = UpBlock(config.dim, config.decoder_dim)
        self.up_s4 = UpBlock(config.decoder_dim, config.decoder_dim)
        self.logits = keep_float32(nn.Conv2d(config.decoder_dim, 1, kernel_size=3, padding=1))
        self.sensory = DecoderSensoryUpdate(config.dim, config.decoder_dim)

    def prepare(self, maps: EncoderMaps) -> DecoderSkips:
        """The image part, equal for all objects."""
        return DecoderSkips(self.skip_s8(maps.s8), self.skip_s4(maps.s4))

    def forward(self, pixels: Tensor, skips: DecoderSkips, sensory: Tensor) -> tuple[Tensor, Tensor]:
        """Logits float32 [N, H / 4, W / 4], and the sensory memory after this frame [N, C, h, w].

        Args:
            pixels: [N, C, h, w].
            skips: the image part.
            sensory: [N, C, h, w].
        """
        s8 = self.up_s8(pixels, skips.s8)
        s4 = self.up_s4(s8, skips.s4)
        logits = self.logits(F.relu(s4.float()))
        sensory = self.sensory(pixels, s8, torch.cat([s4, logits.to(s4.dtype)], dim=1), sensory)
        return logits[:, 0], sensory
