"""The public function `ms_deform_attn`."""

from collections.abc import Sequence

from torch import Tensor

from msda_ops.reference import ms_deform_attn_reference


def ms_deform_attn(
    value: Tensor,
    spatial_shapes: Sequence[tuple[int, int]],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """Multi-scale deformable attention; see `msda_ops.reference.ms_deform_attn_reference`."""
    return ms_deform_attn_reference(value, spatial_shapes, sampling_locations, attention_weights)
