"""Mask features at stride 4: a text-free pyramid that climbs from the coarsest encoder map to the finest backbone map.

Source: `FPNSpatialDecoder` in `models/segmentation.py` of RobertLuo1/NeurIPS2023_SOC.
"""

from collections.abc import Sequence

from rvos_layers.encoders.video_features import PixelGrid
from rvos_layers.frame_groups import map_frames
from torch import Tensor, nn
from torch.nn.functional import interpolate

NORM_GROUPS = 8
WIDTH_UNIT = 16 * NORM_GROUPS  # the narrowest step has a sixteenth of the channels, and these form groups
FRAMES_AT_ONCE = 8


class MaskFeatures(nn.Module):
    """Encoder memory of strides 32, 16 and 8 and the adapted stride-4 map to mask features.

    Args:
        fine_channels: width of the backbone's stride-4 map.
        channels: width C of the encoder memory.
        mask_channels: width of the mask features.
    """

    def __init__(self, fine_channels: int, channels: int, mask_channels: int) -> None:
        super().__init__()
        half, quarter, eighth, sixteenth = (channels // part for part in (2, 4, 8, 16))
        self.steps = nn.ModuleList(
            _step(wide, narrow)
            for wide, narrow in (
                (channels, channels),
                (channels, half),
                (half, quarter),
                (quarter, eighth),
                (eighth, sixteenth),
            )
        )
        self.adapters = nn.ModuleList((_adapter(channels, half), _adapter(channels, quarter)))
        self.fine_adapter = _adapter(fine_channels, eighth)
        self.output = nn.Conv2d(sixteenth, mask_channels, kernel_size=3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def prepare(self, stage: Tensor, grid: PixelGrid, frames: int) -> Tensor:
        """What the text-independent stride-4 map [B*T, C', h, w] contributes: [B*T, C/8, h, w]."""
        return map_frames(self.fine_adapter, stage, FRAMES_AT_ONCE)

    def forward(self, memory: Sequence[Tensor], fine: Tensor) -> Tensor:
        """Climb.

        Args:
            memory: [n, C, h_k, w_k] for strides 8, 16 and 32.
            fine: [n, C/8, h, w] from `prepare`.

        Returns:
            [n, mask_channels, h, w].
        """
        stride_8, stride_16, stride_32 = memory
        coarse_first, coarse_second, *climbing = self.steps
        x = coarse_second(coarse_first(stride_32))
        adapted = (self.adapters[0](stride_16), self.adapters[1](stride_8), fine)
        for step, finer in zip(climbing, adapted, strict=True):
            x = step(finer + interpolate(x, size=finer.shape[2:], mode="nearest"))
        return self.output(x)


def _step(wide: int, narrow: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(wide, narrow, kernel_size=3, padding=1), nn.GroupNorm(NORM_GROUPS, narrow), nn.ReLU(inplace=True)
    )


def _adapter(channels: int, narrow: int) -> nn.Conv2d:
    return nn.Conv2d(channels, narrow, kernel_size=1)
