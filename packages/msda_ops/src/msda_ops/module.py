"""The attention module: projections around `ms_deform_attn`, with the published names of parameters."""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn

from msda_ops.errors import InputError
from msda_ops.ops import ms_deform_attn


@lru_cache(maxsize=64)
def _extents(spatial_shapes: tuple[tuple[int, int], ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Width and height of each level, [L, 1, 2]; kept, because a GPU waits for numbers that it is sent."""
    with torch.inference_mode(False):  # training may use them later
        return torch.tensor([[[width, height]] for height, width in spatial_shapes], dtype=dtype, device=device)


class MSDeformAttn(nn.Module):
    """Multi-scale deformable attention (Deformable DETR, section 4.1).

    The parameters are called `sampling_offsets`, `attention_weights`, `value_proj` and `output_proj`, with the layouts
    of the published checkpoints.

    Args:
        d_model: channels of queries and source; a multiple of `n_heads`.
        n_levels: feature levels.
        n_heads: attention heads.
        n_points: points sampled per head and level.
    """

    def __init__(self, d_model: int = 256, n_levels: int = 4, n_heads: int = 8, n_points: int = 4) -> None:
        super().__init__()
        if d_model % n_heads:
            raise ValueError(f"d_model must be a multiple of n_heads, got d_model={d_model}, n_heads={n_heads}")
        self.d_model, self.n_levels, self.n_heads, self.n_points = d_model, n_levels, n_heads, n_points
        samples = n_heads * n_levels * n_points
        self.sampling_offsets = nn.Linear(d_model, samples * 2)
        self.attention_weights = nn.Linear(d_model, samples)
        self.value_proj = nn.Linear(d_model, d_model)
        self.output_proj = nn.Linear(d_model, d_model)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start with uniform attention over points that lead outwards, in a different direction for each head."""
        for predictor in (self.sampling_offsets, self.attention_weights):
            nn.init.zeros_(predictor.weight)
            nn.init.zeros_(predictor.bias)
        for projection in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(self._outward_offsets().flatten())

    def _outward_offsets(self) -> Tensor:
        """Offsets [M, L, P, 2] in pixels: point p lies p + 1 steps (of largest component 1) from the reference."""
        angle = torch.arange(self.n_heads, dtype=torch.float32) * (2 * math.pi / self.n_heads)
        direction = torch.stack((angle.cos(), angle.sin()), -1)
        direction = direction / direction.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, self.n_points + 1, dtype=torch.float32)
        walk = direction[:, None, None] * steps[:, None]
        return walk.expand(self.n_heads, self.n_levels, self.n_points, 2)

    def forward(
        self,
        query: Tensor,
        reference_points: Tensor,
        input_flatten: Tensor,
        input_spatial_shapes: Tensor | Sequence[tuple[int, int]],
        input_level_start_index: Tensor | None = None,
        input_padding_mask: Tensor | None = None,
    ) -> Tensor:
        """Attend from every query to sampled points of every level. The call is that of the published module.

        Args:
            query: [B, Q, C], with the position encoding added.
            reference_points: [B, Q, L, 2] points (x, y) or [B, Q, L, 4] boxes (cx, cy, w, h), normalised to the level.
            input_flatten: [B, S, C] tokens of all levels, level after level, row-major.
            input_spatial_shapes: (H, W) of each level; a tensor [L, 2] is copied from its device, which takes time.
            input_level_start_index: where each level begins; not read, since the shapes say it.
            input_padding_mask: bool [B, S], True where a token is padding and counts as zero.

        Returns:
            [B, Q, C].

        Raises:
            InputError: `input_level_start_index` is not one number a level: a padding mask in its place.
        """
        shapes = _as_pairs(input_spatial_shapes)
        if input_level_start_index is not None and input_level_start_index.shape != (len(shapes),):
            raise InputError(
                f"input_level_start_index must have one number for each of {len(shapes)} levels, got shape "
                f"{tuple(input_level_start_index.shape)}; a padding mask is the argument after it"
            )
        value = self.value_proj(input_flatten)
        if input_padding_mask is not None:
            value = value.masked_fill(input_padding_mask[..., None], 0.0)
        return self.output_proj(
            ms_deform_attn(
                value.unflatten(-1, (self.n_heads, -1)),
                shapes,
                self.sampling_locations(query, reference_points, shapes),
                self.point_weights(query),
            )
        )

    def sampling_locations(
        self, query: Tensor, reference_points: Tensor, spatial_shapes: Sequence[tuple[int, int]]
    ) -> Tensor:
        """Locations that each query samples: [B, Q, M, L, P, 2], normalised (x, y)."""
        offsets = self.sampling_offsets(query).unflatten(-1, (self.n_heads, self.n_levels, self.n_points, 2))
        anchors = reference_points[:, :, None, :, None]  # [B, Q, 1, L, 1, 2 | 4]
        match reference_points.shape[-1]:
            case 2:
                extents = _extents(tuple(map(tuple, spatial_shapes)), reference_points.dtype, reference_points.device)
                return anchors + offsets / extents
            case 4:
                return anchors[..., :2] + offsets / self.n_points * anchors[..., 2:] * 0.5
            case size:
                raise ValueError(
                    f"reference_points must end in 2 (points x, y) or 4 (boxes cx, cy, w, h) numbers, got {size} "
                    f"in shape {tuple(reference_points.shape)}"
                )

    def point_weights(self, query: Tensor) -> Tensor:
        """Weights of the sampled points: [B, Q, M, L, P], with sum 1 over levels and points."""
        logits = self.attention_weights(query).unflatten(-1, (self.n_heads, self.n_levels * self.n_points))
        return logits.softmax(-1).unflatten(-1, (self.n_levels, self.n_points))


def _as_pairs(shapes: Tensor | Sequence[tuple[int, int]]) -> Sequence[tuple[int, int]]:
    return [(int(height), int(width)) for height, width in shapes.tolist()] if isinstance(shapes, Tensor) else shapes
