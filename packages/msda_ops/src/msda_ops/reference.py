"""Multi-scale deformable attention in plain torch: the definition that every kernel is tested against."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

# A normalised grid coordinate whose four corners lie outside a map of any size.
_OUTSIDE = -3.0


def ms_deform_attn_reference(
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """Sum bilinear samples of every level, weighted by attention (Deformable DETR, section 4.1, equation 3).

    With pixel centres at whole numbers, location (x, y) lies at pixel (x * W - 0.5, y * H - 0.5). A point counts when
    -1 < pixel < size on both axes (a NaN never does); corners outside the map are zero. Twice differentiable only as
    far as torch's `grid_sample` is. Half-precision values are sampled and summed in float32.

    Args:
        value: [B, S, M, D] any floating dtype; rows of all levels, level after level, S = sum of H * W.
        spatial_shapes: (H, W) of each level.
        sampling_locations: [B, Q, M, L, P, 2] (x, y) in units of the level's width and height.
        attention_weights: [B, Q, M, L, P], used as given.

    Returns:
        [B, Q, M * D] in the dtype of `value`, head after head.
    """
    batch, _, heads, channels = value.shape
    queries = sampling_locations.shape[1]
    dtype = accumulation_dtype(value.dtype)
    level_sizes = [height * width for height, width in spatial_shapes]
    total = value.new_zeros((batch * heads, channels, queries), dtype=dtype)
    if total.numel() == 0:
        # grid_sample refuses empty inputs; multiplying keeps the result connected to every input.
        unused = value.sum() + sampling_locations.sum() + attention_weights.sum()
        return (total.reshape(batch, queries, heads * channels) * unused).to(value.dtype)

    for level, (tokens, size) in enumerate(zip(value.to(dtype).split(level_sizes, dim=1), spatial_shapes, strict=True)):
        feature_map = tokens.permute(0, 2, 3, 1).reshape(batch * heads, channels, *size)
        points = sampling_locations[:, :, :, level].to(dtype).transpose(1, 2).flatten(0, 1)  # [B*M, Q, P, 2]
        weights = attention_weights[:, :, :, level].to(dtype).transpose(1, 2).flatten(0, 1)  # [B*M, Q, P]
        grid = torch.where(_counts(points, size), 2 * points - 1, _OUTSIDE)
        samples = functional.grid_sample(feature_map, grid, padding_mode="zeros", align_corners=False)
        total = total + (samples * weights[:, None]).sum(-1)  # [B*M, D, Q]
    return total.reshape(batch, heads * channels, queries).transpose(1, 2).to(value.dtype)


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which samples are summed: float64 for float64, float32 for everything else."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _counts(points: Tensor, size: tuple[int, int]) -> Tensor:
    """Which points [..., 2] lie strictly between pixel -1 and the far edge of a map; [..., 1] bool."""
    height, width = size
    extent = points.new_tensor([width, height])
    pixel = points * extent - 0.5
    return ((pixel > -1) & (pixel < extent)).all(-1, keepdim=True)
