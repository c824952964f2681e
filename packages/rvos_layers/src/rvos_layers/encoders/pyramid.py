"""The four feature levels that the deformable transformer takes, and their padding."""

from collections.abc import Sequence

import torch
from program_kit.torch.checkpoint.table import Rename, Rule
from program_kit.torch.memory import rows_at_once
from torch import Tensor, nn
from torch.nn.functional import interpolate

from rvos_layers.chunks import map_chunks

NORM_GROUPS = 32


class PyramidProjection(nn.Module):
    """Projects the backbone maps of strides 8, 16 and 32 to one width, and adds a level of stride 64.

    The level of stride 64 is made from the stride-32 map itself, not from its projection.

    Args:
        stage_channels: widths of the three maps.
        hidden_size: common width, divisible by 32.
    """

    def __init__(self, stage_channels: Sequence[int], hidden_size: int) -> None:
        super().__init__()
        same_size = [nn.Conv2d(width, hidden_size, kernel_size=1) for width in stage_channels]
        halved = nn.Conv2d(stage_channels[-1], hidden_size, kernel_size=3, stride=2, padding=1)
        self.projections = nn.ModuleList(
            nn.Sequential(convolution, nn.GroupNorm(NORM_GROUPS, hidden_size)) for convolution in (*same_size, halved)
        )
        for convolution in (*same_size, halved):
            nn.init.xavier_uniform_(convolution.weight)
            assert convolution.bias is not None
            nn.init.zeros_(convolution.bias)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return next(self.parameters()).dtype

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Three maps [N, C_k, h_k, w_k] to four levels [N, hidden_size, h_k, w_k]."""
        return [
            map_chunks(project, x, rows_at_once(x.device, x[0].nbytes))
            for project, x in zip(self.projections, (*maps, maps[-1]), strict=True)
        ]


def resize_padding(padding_mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a padding mask to a level by nearest sampling: bool[N, H, W] to bool[N, *size]."""
    return interpolate(padding_mask[:, None].float(), size=size)[:, 0].bool()


def pyramid_rules(published: str, ours: str) -> list[Rule]:
    """Rules for the projections of the feature levels."""
    return [Rename(f"{published}.{{i}}.{{*}}", f"{ours}.projections.{{i}}.{{*}}")]
