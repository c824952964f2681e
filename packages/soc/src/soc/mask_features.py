"""Mask features at stride 4: a feature pyramid without text, from the coarsest encoder map to the finest backbone map.

Source: `FPNSpatialDecoder` in `models/segmentation.py` of RobertLuo1/NeurIPS2023_SOC.
"""

from collections.abc import Sequence

from program_kit.torch.memory import rows_at_once
from rvos_layers.chunks import map_chunks
from rvos_layers.encoders.video_features import PixelGrid
from torch import Tensor, nn
from torch.nn.functional import interpolate

from soc.config import NORM_GROUPS


class MaskFeatures(nn.Module):
    """Makes mask features from the encoder memory of strides 32, 16 and 8 and the adapted stride-4 map.

    Args:
        fine_channels: width of the backbone's stride-4 map.
        hidden_size: width C of the encoder memory.
        mask_channels: width of the mask features.
    """

    def __init__(self, fine_channels: int, hidden_size: int, mask_channels: int) -> None:
        super().__init__()
        half, quarter, eighth, sixteenth = (hidden_size // part for part in (2, 4, 8, 16))
        self.steps = nn.ModuleList(
            _step(inputs, outputs)
            for inputs, outputs in (
                (hidden_size, hidden_size),
                (hidden_size, half),
                (half, quarter),
                (quarter, eighth),
                (eighth, sixteenth),
            )
        )
        self.adapters = nn.ModuleList((_adapter(hidden_size, half), _adapter(hidden_size, quarter)))
        self.fine_adapter = _adapter(fine_channels, eighth)
        self.output = nn.Conv2d(sixteenth, mask_channels, kernel_size=3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def prepare_fine(self, stage: Tensor, grid: PixelGrid, frames: int) -> Tensor:
        """Adapt the text-independent stride-4 map: [B*T, C', h, w] to [B*T, C/8, h, w]."""
        return map_chunks(self.fine_adapter, stage, rows_at_once(stage.device, stage[0].nbytes))

    def forward(self, memory: Sequence[Tensor], fine: Tensor) -> Tensor:
        """Make mask features.

        Args:
            memory: [n, C, h_k, w_k] for strides 8, 16 and 32.
            fine: [n, C/8, h, w] from `prepare_fine`.

        Returns:
            [n, mask_channels, h, w].
        """
        stride_8, stride_16, stride_32 = memory
        first, second, *upward = self.steps
        x = second(first(stride_32))
        adapted = (self.adapters[0](stride_16), self.adapters[1](stride_8), fine)
        for step, finer in zip(upward, adapted, strict=True):
            x = step(finer + interpolate(x, size=finer.shape[2:], mode="nearest"))
        return self.output(x)


def _step(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size=3, padding=1), nn.GroupNorm(NORM_GROUPS, outputs), nn.ReLU(inplace=True)
    )


def _adapter(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel_size=1)
