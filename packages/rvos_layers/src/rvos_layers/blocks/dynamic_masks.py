"""Masks by small convolutions whose parameters each query supplies (CondInst, Tian et al., 2020).

Equal in ReferFormer, MUTR and SOC: 1x1 convolutions over mask features and the offset of every pixel from the query's
reference centre, ReLU between them, one channel out. The centre is in pixels of the network input without its padding.
The offset is not normalised.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from rvos_layers.blocks.heads import at_least_float32

COORDINATES = 2  # relative x, relative y


@dataclass(frozen=True, kw_only=True, slots=True)
class DynamicMaskHead:
    """Applies a query's own convolutions. It has no parameters itself.

    Attributes:
        feature_channels: width of the mask features.
        hidden_channels: width between the convolutions.
        layers: number of convolutions.
        stride: pixels of the network input per cell of the mask features.
    """

    feature_channels: int
    hidden_channels: int = 8
    layers: int = 3
    stride: int = 4

    def __post_init__(self) -> None:
        if self.layers < 2:
            raise ValueError(f"a dynamic mask head has at least 2 layers, not {self.layers}")

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(output, input) channels of each convolution."""
        hidden = [self.hidden_channels] * (self.layers - 1)
        widths = (self.feature_channels + COORDINATES, *hidden, 1)
        return [(outputs, inputs) for inputs, outputs in pairwise(widths)]

    @property
    def parameter_count(self) -> int:
        """How many numbers a query supplies."""
        return sum(outputs * inputs + outputs for outputs, inputs in self.shapes)

    def __call__(
        self, features: Tensor, parameters: Tensor, centres: Tensor, feature_conv: nn.Conv2d | None = None
    ) -> Tensor:
        """Compute the masks of some queries.

        The first convolution is a sum over features, which all queries share, and over offsets. Features are therefore
        never repeated for each query. Only the part over features may have half precision: offsets in pixels need more.

        Args:
            features: [N, feature_channels, h, w].
            parameters: [N, Q, parameter_count], all weights (row-major, output by input), then all biases.
            centres: [N, Q, 2] reference centres (x, y) in pixels of the network input.
            feature_conv: the convolution that makes the mask features; `features` are then its input. It is merged into
                each query's first convolution, so that only `hidden_channels` maps are computed, not
                `feature_channels`.

        Returns:
            mask logits [N, Q, h, w].
        """
        weights, biases = self.split(at_least_float32(parameters))
        of_features, of_offsets = weights[0].split([self.feature_channels, COORDINATES], dim=3)
        of_features = of_features.to(features.dtype)
        if feature_conv is None:
            x = torch.einsum("nqof,nfhw->nqohw", of_features, features)
        else:
            x = _merged_convolution(features, of_features, feature_conv)
        with torch.autocast(x.device.type, enabled=False):
            x = at_least_float32(x)
            offsets = centres[..., None, None] - self.cell_centres(features.shape[2:], centres)  # [N, Q, 2, h, w]
            x += torch.einsum("nqoc,nqchw->nqohw", of_offsets, offsets)
            x += biases[0][..., None, None]
            for weight, bias in zip(weights[1:], biases[1:], strict=True):
                x = torch.einsum("nqoi,nqihw->nqohw", weight, x.relu()) + bias[..., None, None]
        return x.squeeze(2)

    def split(self, parameters: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Weights [N, Q, output, input] and biases [N, Q, output] of each convolution."""
        sizes = [outputs * inputs for outputs, inputs in self.shapes] + [outputs for outputs, _ in self.shapes]
        parts = parameters.split(sizes, dim=-1)
        weights = [part.unflatten(-1, shape) for part, shape in zip(parts, self.shapes, strict=False)]
        return weights, list(parts[self.layers :])

    def cell_centres(self, size: Sequence[int], like: Tensor) -> Tensor:
        """Centres (x, y) of the feature cells in pixels of the network input, [2, h, w].

        Args:
            size: (h, w).
            like: has the device and the type of the result.
        """
        rows, columns = (
            torch.arange(length, device=like.device, dtype=like.dtype) * self.stride + self.stride // 2
            for length in size
        )
        return torch.stack(torch.meshgrid(columns, rows, indexing="xy"))


def _merged_convolution(x: Tensor, weights: Tensor, convolution: nn.Conv2d) -> Tensor:
    """`convolution` on [N, C, h, w], then 1x1 convolutions [N, Q, out, F] on its F channels: [N, Q, out, h, w].

    Both are linear, so their kernels are multiplied first. Padding works as in the convolution alone.
    """
    assert convolution.bias is not None
    kernels = torch.einsum("nqof,fcij->nqocij", weights, convolution.weight)
    biases = torch.einsum("nqof,f->nqo", weights, convolution.bias)
    maps = [
        conv2d(image[None], kernel.flatten(0, 1), bias.flatten(), padding=convolution.padding)
        for image, kernel, bias in zip(x, kernels, biases, strict=True)
    ]
    return torch.cat(maps).unflatten(1, weights.shape[1:3])
